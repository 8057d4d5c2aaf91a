"""Inference of adaptive depth: every example stops at the first exit that is sure of it.

python examples/early_exit.py
"""

import torch

from cohort import MultiExitStudent, SelfDistillConfig, load_student, self_distill
from cohort.data.registry import load_dataset


def main() -> None:
    """Train ResNet-8 with three exits on the digits, and ask it with four thresholds."""
    config = SelfDistillConfig(epochs=3, workers=0, threads=1)
    result = self_distill(config)
    student = load_student(result.run_dir / "students" / "0")
    assert isinstance(student, MultiExitStudent)

    test = load_dataset(config, seed=0).test
    pixels_BCHW = torch.from_numpy(test.images).float() / 255
    labels_B = torch.from_numpy(test.labels)
    for threshold in (0.0, 0.5, 0.8, 1.0):
        logits_BC, exits_B = student.until_confident(pixels_BCHW, threshold)
        accuracy = (logits_BC.argmax(dim=1) == labels_B).float().mean()
        answered = [int((exits_B == exit).sum()) for exit in (1, 2, 3)]
        print(f"{threshold:.1f} sure: {accuracy:.3f} right, answered by exits 1 to 3: {answered}")


if __name__ == "__main__":
    main()
