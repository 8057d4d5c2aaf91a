"""Checkpoints are written while students go on to learn."""

import dataclasses
import json
import shutil
import threading

import pytest

from cohort import CohortConfig, ConfigError, SelfDistillConfig, resume, self_distill, train_cohort
from cohort.run import owner
from cohort.run.background import in_background
from cohort.run.checkpoint import newest_checkpoint, write_checkpoint
from tests.support.command import wait_until

SMALL = {
    "train_subset": 64,
    "test_subset": 10,
    "batch_size": 32,
    "steps": 8,
    "checkpoint_every": 2,
    "eval_every": 100,
    "log_every": 1,
    "threads": 1,
}
RUNS = {
    "cohort": (CohortConfig(**SMALL, exchange="in_process"), train_cohort),
    "job": (SelfDistillConfig(**SMALL, workers=0), self_distill),
}


@pytest.fixture(params=RUNS.values(), ids=list(RUNS))
def train(request, tmp_path):
    """Trains a run in the folder of this name."""
    config, start = request.param

    def start_in(name, on_step=None, **options):
        options = {"run_dir": str(tmp_path / name), **options}
        return start(dataclasses.replace(config, **options), on_step=on_step)

    return start_in


class SlowDisk:
    """The checkpoint of step 2 is not written before step 4 was recorded."""

    def __init__(self, monkeypatch):
        self.seen, self.reached = [], threading.Event()
        self.overtaken = None
        monkeypatch.setattr(owner, "write_checkpoint", self.write)

    def write(self, root, step, *arguments, **options):
        if step == 2:
            self.overtaken = self.reached.wait(60)
        return write_checkpoint(root, step, *arguments, **options)

    def recorded(self, record):
        if record["phase"] == "train" and record["step"] == 4:
            self.reached.set()


def hashes(result):
    return [line["weights_sha256"] for line in result.summary["students"]]


def test_steps_are_trained_while_a_checkpoint_is_written(train, monkeypatch):
    disk = SlowDisk(monkeypatch)
    slow = train("slow", on_step=disk.recorded)
    assert disk.overtaken is True
    assert slow.summary["steps"] == newest_checkpoint(slow.run_dir / "checkpoints").step == 8
    monkeypatch.undo()
    assert hashes(slow) == hashes(train("quick"))


def test_what_is_in_it_is_of_its_step(train, monkeypatch):
    """Although the students have learned on when it is written."""
    disk = SlowDisk(monkeypatch)
    whole = train("whole", on_step=disk.recorded, keep=4)
    for path in (whole.run_dir / "checkpoints").glob("step_*[!2]"):
        shutil.rmtree(path)
    monkeypatch.undo()
    assert newest_checkpoint(whole.run_dir / "checkpoints").step == 2
    assert hashes(resume(whole.run_dir)) == hashes(whole)


def test_one_that_could_not_be_written_is_told_at_the_next_step(train, monkeypatch, tmp_path):
    """And what it was written for is not lost: the one before it is there to go on from."""
    steps = []

    def refuse(root, step, *arguments, **options):
        if step == 4:
            raise OSError(28, "No space left on device")
        return write_checkpoint(root, step, *arguments, **options)

    monkeypatch.setattr(owner, "write_checkpoint", refuse)
    with pytest.raises(Exception, match="No space left on device"):
        train("full", on_step=lambda record: steps.append(record["step"]))
    assert 4 <= max(steps) <= 6
    summary = json.loads((tmp_path / "full/summary.json").read_text())
    assert (summary["status"], summary["steps"]) == ("failed", 2)
    monkeypatch.undo()
    assert hashes(resume(tmp_path / "full")) == hashes(train("quick"))


def test_a_run_that_fails_counts_the_checkpoint_that_was_being_written(
    train, monkeypatch, tmp_path
):
    """One step later its program fails, before anybody asked what came of the checkpoint."""
    going = threading.Event()

    def write(root, step, *arguments, **options):
        if step == 4:
            assert going.wait(60)
        return write_checkpoint(root, step, *arguments, **options)

    def fail(record):
        if record["step"] == 5:
            threading.Timer(0.2, going.set).start()
            raise ArithmeticError("at step 5")

    monkeypatch.setattr(owner, "write_checkpoint", write)
    with pytest.raises(Exception, match="at step 5"):
        train("failing", on_step=fail)
    summary = json.loads((tmp_path / "failing/summary.json").read_text())
    assert (summary["status"], summary["steps"]) == ("failed", 4)


class Cut:
    """A writer that waits, amid the checkpoint of step 4, until the run has ended."""

    def __init__(self, monkeypatch):
        self.begun, self.ended = threading.Event(), threading.Event()
        self.error = None
        monkeypatch.setattr(owner, "CLOSING_SECONDS", 0.1)
        monkeypatch.setattr(owner, "write_checkpoint", self.write)

    def write(self, root, step, snapshots, **options):
        if step != 4:
            return write_checkpoint(root, step, snapshots, **options)
        try:
            return write_checkpoint(root, step, self.waiting(snapshots), **options)
        except OSError as error:
            self.error = error
            raise

    def waiting(self, snapshots):
        for number, each in enumerate(snapshots):
            yield each
            if number == 0:
                self.begun.set()
                assert self.ended.wait(60)


def test_a_run_that_is_broken_off_asks_its_students_for_nothing_more(train, monkeypatch, tmp_path):
    """They may be gone; and nobody goes on with the run while it is being written."""
    cut, run_dir = Cut(monkeypatch), tmp_path / "cut"

    def break_off(record):
        if record["step"] == 5:
            assert cut.begun.wait(60)
            raise KeyboardInterrupt  # as a second Ctrl-C

    with pytest.raises(KeyboardInterrupt):
        train("cut", on_step=break_off)
    with pytest.raises(ConfigError, match="another process trains this run"):
        resume(run_dir)
    cut.ended.set()
    wait_until(lambda: cut.error is not None)
    assert str(cut.error) == "the run ended before its checkpoint was written"
    wait_until(lambda: not list((run_dir / "checkpoints").glob(".*")))
    assert newest_checkpoint(run_dir / "checkpoints").step == 2
    monkeypatch.undo()
    wait_until(lambda: not any(each.name == "cohort-background" for each in threading.enumerate()))
    assert hashes(resume(run_dir)) == hashes(train("quick"))


def test_work_in_the_background_gives_its_result_or_its_error():
    assert in_background(lambda: 1 + 1).result(10) == 2
    with pytest.raises(ZeroDivisionError):
        in_background(lambda: 1 / 0).result(10)
