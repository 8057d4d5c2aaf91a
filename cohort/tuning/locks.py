"""Who works on a study: one session at a time, and no trial of one that was killed. No ray.

Locks of the operating system, on files in the study's folder: released however a process ends.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cohort.errors import ConfigError
from cohort.files import lock

SESSION, TRIALS = ".session.lock", ".trials.lock"
LEFT_SECONDS = 60.0
"""How long the trials of a killed session may need to notice it."""


@contextmanager
def only_session(study_dir: Path) -> Iterator[None]:
    """Inside, no other process works on the study.

    Raises ConfigError if one does, or if trials of a session that was killed go on training.
    """
    with (study_dir / SESSION).open("wb") as session:
        if not lock(session.fileno()):
            raise ConfigError(
                f"--study-dir {study_dir}: another process works on this study; wait for its end, "
                "or name another folder"
            )
        _wait_for_trials(study_dir)
        yield


@contextmanager
def at_work(study_dir: Path) -> Iterator[None]:
    """Inside, a trial trains in this process: a new session waits for its end."""
    with (study_dir / TRIALS).open("ab", buffering=0) as trials:
        lock(trials.fileno(), shared=True, wait=True)
        trials.write(b"%d\n" % os.getpid())
        yield


def processes_at_work(study_dir: Path) -> set[int]:
    """The processes in which trials of this session have trained, some of which may have ended."""
    try:
        return set(map(int, (study_dir / TRIALS).read_text().split()))
    except FileNotFoundError:
        return set()


def _wait_for_trials(study_dir: Path) -> None:
    deadline = time.monotonic() + LEFT_SECONDS
    with (study_dir / TRIALS).open("wb") as trials:
        while not lock(trials.fileno()):
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"--study-dir {study_dir}: trials of an earlier session still train; end their "
                    "processes, or wait for them"
                )
            time.sleep(0.1)
