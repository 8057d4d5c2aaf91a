"""The learner and the cohorts on a CUDA device."""

import pytest
import torch

from cohort import CohortConfig, train_cohort
from cohort.config import DataConfig
from cohort.data.registry import load_dataset
from cohort.data.source import BatchSource
from cohort.metrics.retrieval import Pictures, retrieval

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def config(tmp_path, name, **options):
    defaults = {
        "dataset": "synthetic",
        "students": "resnet8",
        "batch_size": 64,
        "steps": 60,
        "epochs": 2,
        "run_dir": str(tmp_path / name),
        "gpus": 1,
    }
    return CohortConfig(**{**defaults, **options})


def test_batches_equal_the_cpu_s_bit_for_bit():
    dataset = load_dataset(DataConfig(dataset="synthetic"), seed=0)
    sources = [
        BatchSource(
            dataset.train,
            batch_size=64,
            seed=1,
            augmentation=dataset.augmentation,
            device=torch.device(device),
        )
        for device in ("cpu", "cuda")
    ]
    for step in (0, 1, 40):
        (x_cpu, y_cpu), (x_gpu, y_gpu) = (source.batch(step) for source in sources)
        assert torch.equal(x_cpu, x_gpu.cpu())
        assert torch.equal(y_cpu, y_gpu.cpu())


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_cohort_learns_on_one_gpu(tmp_path, precision):
    """By the other exchanges as well, as ``test_cuda_precision.py`` has it."""
    result = train_cohort(config(tmp_path, "run", exchange="in_process", precision=precision))
    accuracies = [student["test_accuracy"] for student in result.summary["students"]]
    assert min(accuracies) > 0.5
    assert result.summary["ensemble"]["test_accuracy"] > 0.5


def test_a_student_resumes_on_the_gpu(tmp_path):
    from cohort import resume

    train_cohort(config(tmp_path, "run", exchange="in_process", steps=30))
    result = resume(tmp_path / "run", given={"steps": 60})
    assert result.summary["steps"] == 60
    assert min(s["test_accuracy"] for s in result.summary["students"]) > 0.5


def test_a_loss_that_is_not_finite_is_noticed_within_a_window(tmp_path):
    from cohort import RunError

    with pytest.raises(RunError, match="the loss is not finite at step"):
        train_cohort(config(tmp_path, "run", exchange="in_process", lr=1e20))


def test_people_are_found_as_on_the_cpu():
    """float64 products, rounded: the order is the same but for ties that rounding makes."""
    random = torch.Generator().manual_seed(0)
    people = [
        Pictures(
            torch.randn(count, 64, generator=random),
            torch.randint(1, 20, (count,), generator=random),
            torch.randint(1, 4, (count,), generator=random),
        )
        for count in (300, 2000)
    ]
    for distance in ("euclidean", "cosine"):
        here = retrieval(*people, distance)
        there = retrieval(*(each.to(torch.device("cuda")) for each in people), distance)
        assert there == pytest.approx(here, abs=1e-6)
