"""Self-distillation and early exit on a CUDA device."""

import pytest
import torch

from cohort import SelfDistillConfig, self_distill
from cohort.data.source import to_float

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def config(tmp_path, name, **options):
    defaults = {
        "dataset": "synthetic",
        "model": "resnet8",
        "batch_size": 64,
        "steps": 60,
        "epochs": 2,
        "run_dir": str(tmp_path / name),
        "gpus": 1,
    }
    return SelfDistillConfig(**{**defaults, **options})


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_network_teaches_itself_on_one_gpu(tmp_path, workers, precision):
    result = self_distill(config(tmp_path, "run", workers=workers, precision=precision))
    assert result.summary["students"][0]["test_accuracy"] > 0.5


@pytest.mark.parametrize("method", ["kd", "fitnet", "at"])
def test_a_teacher_beside_a_student_on_one_gpu(tmp_path, method):
    teacher = self_distill(config(tmp_path, "teacher", workers=0, method="none"))
    options = {"method": method, "teacher": str(teacher.run_dir)}
    result = self_distill(config(tmp_path, "run", workers=0, **options))
    assert result.summary["students"][0]["test_accuracy"] > 0.5


def test_examples_leave_at_their_exits_on_the_gpu(tmp_path):
    student = self_distill(config(tmp_path, "run", workers=0)).student().cuda()
    pixels = to_float(torch.randint(0, 256, (32, 3, 32, 32), dtype=torch.uint8).cuda())
    answers = student.until_confident(pixels, threshold=0.5)
    for exit in (1, 2, 3):
        chosen = answers.exits_B == exit
        with torch.no_grad():
            alone = student(pixels, exit=exit)[chosen]
        torch.testing.assert_close(answers.logits_BC[chosen], alone, rtol=1e-3, atol=1e-3)
