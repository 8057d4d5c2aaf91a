"""A disk that is full: one sentence, and what was written before is still there to go on from."""

import dataclasses
import errno
import os

import pytest

from cohort import (
    CohortConfig,
    ConfigError,
    RunError,
    SelfDistillConfig,
    resume,
    self_distill,
    train_cohort,
)
from cohort.run.checkpoint import newest_checkpoint
from tests.support.refusal import contents

SMALL = {
    "train_subset": 64,
    "test_subset": 10,
    "batch_size": 32,
    "epochs": 3,
    "checkpoint_every": 1,
    "threads": 1,
}
COMMANDS = {
    "cohort": (CohortConfig(**SMALL, exchange="in_process"), train_cohort, resume),
    "self-distillation": (SelfDistillConfig(**SMALL, workers=0), self_distill, resume),
}


@pytest.fixture
def full(monkeypatch):
    """Called, it fills the disk: nothing can be put on it any more."""

    def refuse(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda: monkeypatch.setattr(os, "fsync", refuse)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_disk_that_fills_while_a_run_trains(full, monkeypatch, tmp_path, name):
    config, train, resume = COMMANDS[name]
    config = dataclasses.replace(config, run_dir=str(tmp_path / "run"))

    def fill_at_step_4(record):  # when that of step 2 is on disk, and that of step 3 may be
        if record["phase"] == "test" and record["step"] == 4:
            full()

    with pytest.raises(RunError, match="No space left on device"):
        train(config, on_step=fill_at_step_4)
    checkpoints = tmp_path / "run" / "checkpoints"
    assert newest_checkpoint(checkpoints).step in (2, 3)
    assert all(path.name.startswith("step_") for path in checkpoints.iterdir())  # nothing half
    before = contents(tmp_path)
    with pytest.raises(ConfigError, match=r"config\.yaml cannot be written: No space left"):
        resume(tmp_path / "run")
    assert contents(tmp_path) == before
    monkeypatch.undo()
    assert resume(tmp_path / "run").summary["status"] == "finished"
