"""A trained student rebuilt from its folder, and exported for programs that know no ``cohort``.

python examples/load_and_export.py
"""

import torch

from cohort import CohortConfig, export_exit, load_student, train_cohort


def main() -> None:
    """Train for an epoch, load, export, and compare."""
    run = train_cohort(CohortConfig(k=2, epochs=1, exchange="in_process"))
    folder = run.run_dir / "students" / "0"  # weights as safetensors: nothing is unpickled
    student = load_student(folder)
    pixels_BCHW = torch.rand(5, 1, 8, 8)  # in [0, 1]: normalisation is part of the student
    with torch.no_grad():
        logits_BC = student(pixels_BCHW)

    file = export_exit(folder, None, run.run_dir / "exported", "torch_export")
    exported = torch.export.load(file).module()
    print(file.name, torch.allclose(exported(pixels_BCHW), logits_BC, atol=1e-4))


if __name__ == "__main__":
    main()
