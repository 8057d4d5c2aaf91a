"""Somebody who watches over a run stops it at a checkpoint, and going on is as if nobody had."""

import dataclasses
import json

import pytest

from cohort import CohortConfig, SelfDistillConfig, resume, self_distill, train_cohort
from cohort.run.checkpoint import newest_checkpoint
from cohort.run.folder import RunFolder

SMALL = {
    "dataset": "digits",
    "train_subset": 96,
    "test_subset": 40,
    "batch_size": 32,
    "steps": 6,
    "eval_every": 2,
    "checkpoint_every": 2,
    "threads": 1,
    "seed": 3,
}
RUNS = {
    "cohort": (CohortConfig(**SMALL, k=2, exchange="in_process"), train_cohort, resume),
    "job": (SelfDistillConfig(**SMALL, workers=0), self_distill, resume),
}


class Watching:
    """Stops a run after the checkpoint of a step; notes what was on disk at each."""

    def __init__(self, run_dir, stop_at=None):
        self.folder = RunFolder(run_dir)
        self.stop_at = stop_at
        self.told = []

    def saved(self, step, total_steps):
        checkpoint = newest_checkpoint(self.folder.checkpoints)
        lines = list(map(json.loads, self.folder.metrics.read_text().splitlines()))
        evaluated = [line["step"] for line in lines if line["phase"] == "test"]
        self.told.append((step, total_steps, checkpoint.step, max(evaluated, default=0)))

    def stopping(self):
        return bool(self.told) and self.told[-1][0] == self.stop_at


@pytest.fixture(scope="module", params=RUNS.values(), ids=list(RUNS))
def run(request, tmp_path_factory):
    """How a run is started and resumed, and the undisturbed one with what its watcher saw."""
    config, start, resume = request.param

    def start_in(path, watcher):
        return start(dataclasses.replace(config, run_dir=str(path)), watcher=watcher)

    path = tmp_path_factory.mktemp("run") / "undisturbed"
    watching = Watching(path)
    return start_in, resume, start_in(path, watching), watching


def weights(result):
    return [line["weights_sha256"] for line in result.summary["students"]]


def test_the_watcher_is_told_of_every_checkpoint_when_all_before_it_is_on_disk(run):
    _, _, whole, watching = run
    assert whole.summary["status"] == "finished"
    told = [each for each in watching.told if each[0] > 0]
    assert told == [(2, 6, 2, 2), (4, 6, 4, 4), (6, 6, 6, 6)]


def test_a_run_that_is_stopped_from_outside_is_interrupted_and_goes_on_as_if_it_had_not(
    run, tmp_path
):
    start_in, resume, whole, _ = run
    path = tmp_path / "stopped"
    stopped = start_in(path, Watching(path, stop_at=4))
    assert stopped.interrupted
    assert stopped.summary["status"] == "interrupted"
    assert stopped.summary["steps"] in (4, 5)  # a job's workers ask after their next step
    assert newest_checkpoint(RunFolder(path).checkpoints).step == stopped.summary["steps"]
    watching = Watching(path)
    resumed = resume(path, watcher=watching)
    assert resumed.summary["status"] == "finished"
    assert watching.told[-1] == (6, 6, 6, 6)
    assert weights(resumed) == weights(whole)
    assert weights(whole)


def test_a_run_may_be_stopped_again_where_it_goes_on(run, tmp_path):
    start_in, resume, whole, _ = run
    path = tmp_path / "stopped"
    start_in(path, Watching(path, stop_at=2))
    again = resume(path, watcher=Watching(path, stop_at=4))
    assert again.summary["status"] == "interrupted"
    assert again.summary["steps"] in (4, 5)
    assert weights(resume(path)) == weights(whole)
