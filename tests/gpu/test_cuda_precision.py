"""What --precision means on a CUDA device, and that nothing but rounding depends on the exchange."""

import pytest
import torch
from torch.nn import functional as F

from cohort import CohortConfig, train_cohort
from cohort.analysis.evaluate import evaluate_run
from cohort.learning.precision import in_precision

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
STEPS = 12


def weights_of(run_dir, **options):
    """Of both students after a few steps, [2, parameters]."""
    defaults = {"exchange": "in_process", "gpus": 1, "threads": 1, "seed": 1}
    config = CohortConfig(
        dataset="synthetic", train_subset=1000, test_subset=50, batch_size=64, epochs=2, steps=STEPS,
        students="tests.support.networks:smooth", run_dir=str(run_dir), **{**defaults, **options},
    )  # fmt: skip
    result = train_cohort(config)
    students = [result.student(number) for number in (0, 1)]
    return torch.stack([torch.cat([p.flatten() for p in s.parameters()]) for s in students])


def distance(one, other):
    return float((one.double() - other.double()).detach().norm())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The weights that options lead to, each trained once."""
    known = {}

    def of(**options):
        key = tuple(sorted(options.items()))
        if key not in known:
            known[key] = weights_of(tmp_path_factory.mktemp("runs") / "run", **options)
        return known[key]

    return of


@pytest.mark.parametrize(("precision", "share"), [("fp32", 0.01), ("bf16", 0.25)])
@pytest.mark.parametrize("exchange", ["object_store", "collective"])
def test_exchanges_between_processes_on_one_gpu_train_what_one_process_does(
    trained, exchange, precision, share
):
    """Up to a share of what learning from each other changes at all: rounding, which bf16 has more of."""
    here = trained(precision=precision)
    there = trained(precision=precision, exchange=exchange, per_process=1)
    alone = trained(precision=precision, teacher="none")
    assert distance(there, here) < share * distance(alone, here)


def test_fp32_trains_what_the_cpu_does_and_tf32_something_near_it(trained):
    on_cpu, alone = trained(gpus=0), trained(gpus=0, teacher="none")
    exact, rounded = (
        distance(trained(precision=precision), on_cpu) for precision in ("fp32", "tf32")
    )
    assert 3 * exact < rounded < distance(alone, on_cpu)
    assert exact < 0.03 * distance(alone, on_cpu)


def test_products_are_rounded_as_the_precision_says():
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(8, 64, 16, 16, generator=draw).cuda()
    kernel = torch.randn(64, 64, 3, 3, generator=draw).cuda()
    rows = torch.randn(512, 512, generator=draw).cuda()

    def errors():
        for product, factors in ((F.conv2d, (images, kernel)), (torch.matmul, (rows, rows))):
            exact = product(*(factor.double() for factor in factors))
            yield float((product(*factors) - exact).norm() / exact.norm())

    for precision in ("fp32", "bf16"):  # of bf16 what autocast leaves alone
        with in_precision(precision):
            assert max(errors()) < 1e-5, precision
    with in_precision("tf32"):
        assert all(1e-5 < error < 2e-3 for error in errors())


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_evaluation_finds_what_the_run_found(tmp_path, precision):
    config = CohortConfig(
        dataset="synthetic", students="resnet8", train_subset=640, test_subset=400, batch_size=64,
        epochs=2, exchange="in_process", gpus=1, precision=precision, run_dir=str(tmp_path / "run"),
    )  # fmt: skip
    told = train_cohort(config).summary["students"]
    for one, other in zip(evaluate_run(tmp_path / "run").summary["students"], told, strict=True):
        for name in ("test_accuracy", "test_nll", "test_brier", "train_entropy"):
            assert one[name] == pytest.approx(other[name], rel=1e-5), name
