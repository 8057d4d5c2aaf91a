"""Who works on a study: one session at a time, and no trial of one that was killed. No ray.

Locks of the operating system, on files in the study's folder: released however a process ends.
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cohort.errors import ConfigError

SESSION, TRIALS = ".session.lock", ".trials.lock"
LEFT_SECONDS = 60.0
"""How long the trials of a killed session may need to notice it."""


@contextmanager
def only_session(study_dir: Path) -> Iterator[None]:
    """Inside, no other process works on the study.

    Raises ConfigError if one does, or if trials of a session that was killed go on training.
    """
    with (study_dir / SESSION).open("w") as session, (study_dir / TRIALS).open("w") as trials:
        if not _taken(session.fileno(), fcntl.LOCK_EX):
            raise ConfigError(
                f"--study-dir {study_dir}: another process works on this study; wait for its end, "
                "or name another folder"
            )
        deadline = time.monotonic() + LEFT_SECONDS
        while not _taken(trials.fileno(), fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"--study-dir {study_dir}: trials of an earlier session still train; end their "
                    "processes, or wait for them"
                )
            time.sleep(0.1)
        fcntl.flock(trials, fcntl.LOCK_UN)
        yield


@contextmanager
def at_work(study_dir: Path) -> Iterator[None]:
    """Inside, a trial trains: a new session waits for its end."""
    with (study_dir / TRIALS).open("a") as trials:
        fcntl.flock(trials, fcntl.LOCK_SH)
        yield


def _taken(file: int, kind: int) -> bool:
    """Whether the lock was free, and is now held."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
