"""Two workers follow the losses of one, on inputs perturbed for their own halves of the batch."""

import pytest

from cohort import OdsConfig, ods_distill
from cohort.jobs.ods.resolve import resolve
from cohort.jobs.ods.run import prepare_job as prepare
from tests.support.teacher_runs import deep_ensemble
from tests.support.workers import work_together

STEPS = 12
KINDS = ("conf_ods", "gaussian")
SPARE = "tests.support.networks:spare"


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    return deep_ensemble(
        tmp_path_factory.mktemp("teachers") / "run",
        k=2, train_subset=192, test_subset=33, validation=31,
    )  # fmt: skip


def config(teachers, **options):
    defaults = dict(  # noqa: C408
        teachers=teachers, batch_size=32, steps=STEPS, log_every=1, eval_every=6, threads=1, lr=0.02
    )
    return OdsConfig(**{**defaults, **options})


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory, teachers):
    """What two workers tell, by perturbation; and with a network that has a layer to spare."""
    ways = {kind: {"perturbation": kind} for kind in KINDS} | {SPARE: {"model": SPARE, "steps": 3}}
    jobs = [prepare(resolve(config(teachers, **way, workers=2))) for way in ways.values()]
    told = work_together(jobs, 2, tmp_path_factory.mktemp("two") / "workers")
    return dict(zip(ways, told, strict=True))


@pytest.mark.parametrize("perturbation", KINDS)
def test_two_workers_follow_one(teachers, two_workers, tmp_path, perturbation):
    records = []
    one = ods_distill(
        config(teachers, perturbation=perturbation, workers=0, run_dir=str(tmp_path / "one")),
        on_step=records.append,
    )
    train = [record for record in records if record["phase"] == "train"]
    assert [record["step"] for record in train] == list(range(1, STEPS + 1))
    told = two_workers[perturbation]
    # The order of summation differs, and training makes of the last digit a few more.
    for name, tolerance in (("loss", 1e-5), ("kl", 1e-4), ("diversity", 1e-4)):
        values = [[record[name] for record in run] for run in (train, told.records)]
        assert values[1][0] == pytest.approx(values[0][0], rel=tolerance), name
        assert values[1] == pytest.approx(values[0], rel=5e-3), name
    (student,) = one.summary["students"]
    (_, first), (step, last) = told.evaluations
    assert step == STEPS
    assert first[0]["nll"] != last[0]["nll"]
    assert last[0]["nll"] == pytest.approx(student["test_nll"], rel=2e-2)
    # What is asked of the teachers does not depend on who asks.
    lines = told.final.concluded["teachers"]
    assert [line["size"] for line in lines] == [1, 2]
    for line, expected in zip(lines, one.summary["teachers"], strict=True):
        assert line == pytest.approx(expected, rel=1e-5)
    assert told.final.best.step in (6, 12)


def test_nobody_waits_for_a_layer_that_is_never_run(two_workers):
    """Its gradient never comes; the network learns what it learns without such a layer."""
    losses = [
        [record["loss"] for record in two_workers[of].records[:3]] for of in (SPARE, KINDS[0])
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
