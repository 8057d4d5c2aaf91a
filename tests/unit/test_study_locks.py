"""One session works on a study at a time, and none beside the trials of one that was killed."""

import errno
import os
import subprocess
import sys

import pytest

from cohort.errors import ConfigError
from cohort.tuning import locks
from cohort.tuning.locks import at_work, only_session, processes_at_work
from tests.support.command import wait_until

TRIAL = """
import pathlib, sys, time
from cohort.tuning.locks import at_work
with at_work(pathlib.Path(sys.argv[1])):
    print("training", flush=True)
    time.sleep(600)
"""


def test_a_second_session_is_refused_until_the_first_ends(tmp_path):
    with (
        only_session(tmp_path),
        pytest.raises(ConfigError, match="another process"),
        only_session(tmp_path),
    ):
        pytest.fail("two at once")
    with only_session(tmp_path):
        pass


def test_trials_train_beside_each_other_in_their_session(tmp_path):
    with only_session(tmp_path), at_work(tmp_path), at_work(tmp_path):
        pass


def test_a_disk_without_locks_holds_nobody_up(tmp_path, monkeypatch):
    asked = []

    def no_locks(*given):
        asked.append(given)
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr("cohort.files.fcntl.flock", no_locks)
    with only_session(tmp_path), at_work(tmp_path):
        assert len(asked) == 3


def test_a_session_waits_for_a_trial_that_was_left_and_not_for_ever(tmp_path, monkeypatch):
    trial = subprocess.Popen(
        [sys.executable, "-c", TRIAL, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with trial:
        assert trial.stdout.readline() == "training\n"
        monkeypatch.setattr(locks, "LEFT_SECONDS", 0.3)
        with (
            pytest.raises(ConfigError, match="earlier session still train"),
            only_session(tmp_path),
        ):
            pytest.fail("a trial trains")
        monkeypatch.setattr(locks, "LEFT_SECONDS", 60.0)
        monkeypatch.setattr(locks.time, "sleep", lambda seconds: trial.kill())
        with only_session(tmp_path):
            wait_until(lambda: trial.poll() is not None)


def test_trials_say_which_processes_they_are(tmp_path):
    """And a session forgets those of the sessions before it."""
    assert processes_at_work(tmp_path) == set()
    with at_work(tmp_path):
        assert processes_at_work(tmp_path) == {os.getpid()}
    with only_session(tmp_path):
        assert processes_at_work(tmp_path) == set()
