"""A job on Ray Train trains what the same job in one process trains."""

import json

import pytest
import ray

from cohort import ConfigError, RunError, SelfDistillConfig, resume_self_distill, self_distill
from cohort.reporting.records import read_metrics
from tests.support.command import wait_until
from tests.support.local_ray import ray_of_four  # noqa: F401

pytestmark = pytest.mark.usefixtures("ray_of_four")
STEPS = 12


def config(run_dir, **options):
    defaults = dict(  # noqa: C408
        dataset="digits",
        train_subset=192,
        test_subset=33,
        batch_size=32,
        steps=STEPS,
        log_every=1,
        eval_every=5,
        threads=1,
        lr=0.02,
        run_dir=str(run_dir),
    )
    return SelfDistillConfig(**{**defaults, **options})


def records_of(run_dir):
    records = list(read_metrics(run_dir / "metrics.jsonl"))
    for record in records:
        del record["time"]
    return records


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Without Ray."""
    return self_distill(config(tmp_path_factory.mktemp("here") / "run", workers=0))


def test_one_worker_equals_no_ray_bit_for_bit(here, tmp_path):
    there = self_distill(config(tmp_path / "run", workers=1))
    assert records_of(there.run_dir) == records_of(here.run_dir)
    assert there.summary["students"] == here.summary["students"]
    assert there.summary["ensemble"] == here.summary["ensemble"]


def test_more_workers_than_the_cluster_has_cores_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"--workers is 32.*4 cores place at most 4; use") as no:
        self_distill(config(tmp_path / "run", workers=32))
    assert "--address of a larger cluster" in str(no.value)
    assert not (tmp_path / "run").exists()


def test_a_busy_cluster_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "2")
    all_cores = ray.util.placement_group([{"CPU": 4}])
    ray.get(all_cores.ready())
    try:
        with pytest.raises(RunError, match="did not start in time: the cluster's cores"):
            self_distill(config(tmp_path / "run", workers=1))
    finally:
        ray.util.remove_placement_group(all_cores)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["steps"]) == ("failed", 0)


def test_workers_do_not_go_on_without_the_one_who_records(tmp_path):
    """The Ray is not the job's own, and stays when it fails."""

    def fail(record):
        raise ArithmeticError("this test's own")

    with pytest.raises(RunError, match="this test's own"):
        self_distill(config(tmp_path / "run", steps=None, epochs=10_000), on_step=fail)
    wait_until(lambda: ray.available_resources().get("CPU") == 4, seconds=60)


def test_two_workers_begin_and_one_goes_on(here, tmp_path):
    self_distill(config(tmp_path / "run", workers=2, steps=6))
    result = resume_self_distill(tmp_path / "run", given={"steps": STEPS, "workers": 1})
    assert result.summary["steps"] == STEPS
    records, undisturbed = (
        [r for r in records_of(d) if r["phase"] == "train"] for d in (result.run_dir, here.run_dir)
    )
    assert [record["step"] for record in records] == list(range(1, STEPS + 1))
    losses = [record["loss"] for record in undisturbed]
    assert [record["loss"] for record in records] == pytest.approx(losses, rel=5e-3)
