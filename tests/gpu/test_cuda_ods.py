"""ODS distillation on a CUDA device."""

import pytest
import torch

from cohort import OdsConfig, load_student, ods_distill
from cohort.data.source import to_float
from cohort.learning.precision import in_precision
from cohort.objectives.perturbation import InputPerturbation

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("options", [{}, {"precision": "bf16"}, {"stacked_teachers": True}])
@pytest.mark.parametrize("workers", [0, 1])
def test_an_ensemble_is_distilled_on_one_gpu(ensemble, tmp_path, workers, options):
    config = OdsConfig(
        teachers=str(ensemble),
        workers=workers,
        gpus=1,
        epochs=2,
        run_dir=str(tmp_path / "run"),
        **options,
    )
    (student,) = ods_distill(config).summary["students"]
    assert student["test_accuracy"] > 0.5
    assert len(student["members"]) == 2


@pytest.mark.parametrize("kind", ["gaussian", "ods", "conf_ods"])
def test_inputs_are_perturbed_as_on_the_cpu(ensemble, kind):
    """The same draws in fp32; the gradient's rounding may differ, and where a ReLU bends by a bit more."""
    teacher = load_student(ensemble / "students" / "0")
    random = torch.Generator().manual_seed(0)
    pixels = to_float(torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=random))
    perturb = InputPerturbation(kind=kind, temperature=4.0)
    with in_precision("fp32"):
        here = perturb(pixels, teacher, seed=0, step=3)
        there = perturb(pixels.cuda(), teacher.cuda(), seed=0, step=3)
    error = 255 * (there.cpu() - here).abs()
    assert error.max() < 0.2
    assert (error > 0.01).float().mean() < 0.002
