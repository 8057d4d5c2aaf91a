"""A worker of a job is killed in the middle of a step: nothing of the run is lost or falsified."""

import json

import pytest

from cohort import RunError, SelfDistillConfig, self_distill
from cohort.jobs.self_distill_config import resolve
from cohort.jobs.self_distill_job import prepare
from cohort.reporting.records import read_metrics
from tests.support.local_ray import local_ray
from tests.support.networks import FUSE
from tests.support.workers import work_together

NETWORKS = "tests.support.networks"
STEPS = 20


@pytest.fixture(scope="module", autouse=True)
def ray_and_fuse(tmp_path_factory):
    """The fuse's place is in the environment before Ray starts, so that workers inherit it."""
    fuse = tmp_path_factory.mktemp("fuse") / "fuse"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FUSE, str(fuse))
        with local_ray(4):
            yield fuse


def config(run_dir, **options):
    defaults = dict(  # noqa: C408
        dataset="digits",
        train_subset=256,
        test_subset=32,
        batch_size=32,
        steps=STEPS,
        checkpoint_every=5,
        log_every=1,
        threads=1,
        method="none",
        model=f"{NETWORKS}:dying",
        run_dir=None if run_dir is None else str(run_dir),
    )
    return SelfDistillConfig(**{**defaults, **options})


def losses(run_dir):
    return [
        (record["step"], record["loss"])
        for record in read_metrics(run_dir / "metrics.jsonl")
        if record["phase"] == "train"
    ]


def test_a_killed_worker_changes_nothing(ray_and_fuse, tmp_path):
    job = prepare(resolve(config(None, workers=2)))
    (undisturbed,) = work_together([job], 2, tmp_path / "undisturbed")
    ray_and_fuse.touch()
    result = self_distill(config(tmp_path / "run", workers=2))
    assert not ray_and_fuse.exists(), "the fault did not fire"
    assert result.summary["restarts"] == 1
    (student,) = result.summary["students"]
    assert student["weights_sha256"] == undisturbed.final.weights_sha256
    expected = [(record["step"], record["loss"]) for record in undisturbed.records]
    assert losses(tmp_path / "run") == expected


def test_a_worker_that_always_dies_exhausts_the_budget(tmp_path):
    network = f"{NETWORKS}:always_dying"
    with pytest.raises(RunError, match=r"died; that makes 2 deaths, and --max-failures is 1"):
        self_distill(config(tmp_path / "run", model=network, max_failures=1, checkpoint_every=100))
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["restarts"], summary["steps"]) == ("failed", 1, 0)


@pytest.mark.parametrize(
    ("network", "sentence", "workers"),
    [
        ("diverging", "^student 0: the loss is not finite at step 11", 0),
        ("raising", "^ArithmeticError: the network of this test raises here .details in", 2),
    ],
)
def test_what_the_program_does_wrong_is_not_tried_again(tmp_path, network, sentence, workers):
    with pytest.raises(RunError, match=sentence):
        self_distill(config(tmp_path / "run", model=f"{NETWORKS}:{network}", workers=workers))
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["restarts"], summary["steps"]) == ("failed", 0, 10)
