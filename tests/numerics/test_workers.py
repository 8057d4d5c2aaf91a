"""Two workers follow the losses of one, whatever they learn."""

import pytest

from cohort import SelfDistillConfig, self_distill
from cohort.jobs.self_distill.config import resolve
from cohort.jobs.self_distill.run import prepare_job as prepare
from tests.support.workers import SAVED, work_together

STEPS = 12
METHODS = ("byot", "fitnet", "at", "none")
CLIPPED = {"clip_grad_norm": 0.5}
PEOPLE = {"dataset": "synthetic-people", "method": "none", "model": "resnet8", "steps": 2}


def config(**options):
    defaults = dict(  # noqa: C408
        dataset="digits",
        train_subset=192,
        test_subset=33,
        batch_size=32,
        steps=STEPS,
        log_every=1,
        eval_every=5,
        threads=1,
        lr=0.01,
    )
    return SelfDistillConfig(**{**defaults, **options})


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    run_dir = str(tmp_path_factory.mktemp("teacher") / "run")
    self_distill(config(method="none", workers=0, run_dir=run_dir))
    return run_dir


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory, teacher):
    """What two workers tell, by method; ``local`` is byot with local batch normalisation."""
    jobs = {method: options_of(method, teacher) for method in METHODS}
    jobs["local"] = {"batch_norm": "local"}
    jobs["clipped"] = CLIPPED
    jobs["people"] = PEOPLE
    prepared = [prepare(resolve(config(workers=2, **options))) for options in jobs.values()]
    told = work_together(prepared, 2, tmp_path_factory.mktemp("two") / "workers")
    return dict(zip(jobs, told, strict=True))


def options_of(method, teacher):
    if method == "none":  # of a network with a layer that no gradient reaches
        return {"method": method, "model": "tests.support.networks:spare"}
    return {"method": method} | ({} if method == "byot" else {"teacher": teacher})


def one_worker(tmp_path, **options):
    records, run_dir = [], str(tmp_path / "one")
    self_distill(config(workers=0, run_dir=run_dir, **options), on_step=records.append)
    train = [record for record in records if record["phase"] == "train"]
    test = [r for r in records if r["phase"] == "test" and r["student"] == 0]
    return [record["loss"] for record in train], [record["nll"] for record in test], train


@pytest.mark.parametrize("method", METHODS)
def test_two_workers_follow_one(tmp_path, teacher, two_workers, method):
    losses, nlls, records = one_worker(tmp_path, **options_of(method, teacher))
    told = two_workers[method]
    # The order of summation differs, and training makes of the last digit a few more.
    assert [record["loss"] for record in told.records] == pytest.approx(losses, rel=5e-3)
    assert [result[0]["nll"] for _, result in told.evaluations] == pytest.approx(nlls, rel=2e-2)
    assert told.records[0]["loss"] == pytest.approx(losses[0], rel=1e-5)
    if method == "byot":
        accuracies = [record["exits"]["accuracy"] for record in told.records]
        assert accuracies[0] == pytest.approx(records[0]["exits"]["accuracy"])
    assert [step for step, _ in told.saved] == [0, SAVED, 6, 12]
    assert told.final is not None


def test_the_workers_mean_gradient_is_clipped(tmp_path, two_workers):
    losses, _, _ = one_worker(tmp_path, **CLIPPED)
    clipped, free = ([r["loss"] for r in two_workers[job].records] for job in ("clipped", "byot"))
    assert clipped == pytest.approx(losses, rel=5e-3)
    assert clipped != pytest.approx(free, rel=5e-3)


def test_they_find_the_same_people(tmp_path, two_workers):
    """Each has the features of its part of the pictures."""
    run = self_distill(config(workers=0, run_dir=str(tmp_path / "one"), **PEOPLE))
    (_, results), (line,) = two_workers["people"].evaluations[-1], run.summary["students"]
    for name in ("map", "rank10", "multi_map"):
        assert results[0][name] == pytest.approx(line[f"test_{name}"], abs=0.01)


def test_with_local_batch_norm_they_do_not(tmp_path, two_workers):
    """Each normalises by its own half: another curve, and the option is honest about it."""
    losses, _, _ = one_worker(tmp_path)
    own = [record["loss"] for record in two_workers["local"].records]
    assert own != pytest.approx(losses, rel=5e-3)
    assert own == pytest.approx(losses, rel=0.5)


@pytest.mark.slow
def test_three_workers_share_a_test_split_that_does_not_divide(tmp_path):
    options = {"batch_size": 48, "steps": 4, "train_subset": 48, "test_subset": 32}
    losses, nlls, _ = one_worker(tmp_path, **options)
    (told,) = work_together([prepare(resolve(config(workers=3, **options)))], 3, tmp_path / "three")
    assert [record["loss"] for record in told.records] == pytest.approx(losses, rel=5e-3)
    assert [result[0]["nll"] for _, result in told.evaluations] == pytest.approx(nlls, rel=2e-2)
