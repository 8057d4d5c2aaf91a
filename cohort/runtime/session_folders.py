"""What a Ray of our own leaves on disk: its session's folder, with logs that matter only after a failure.

Ray removes none. One that ended well is removed here; of those that failed, or whose process was killed,
the newest few stay.
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from cohort.errors import ConfigError

MARK = "cohort.lock"
"""In the folders of Rays that a run started, and locked while its process lives."""
LATEST = "session_latest"
"""Ray's own link to the newest folder."""
KEPT = 3
TRIES, SECONDS = 20, 0.1
"""Processes that are ending may still write."""


@contextlib.contextmanager
def tidied(folder: Path) -> Iterator[None]:
    """Inside lives the Ray of this session folder, which this process started.

    An error that comes out keeps the folder, and is given a note that says so; a refusal does not.
    """
    mark, kept = _marked(folder), False
    try:
        _remove_old(folder.parent)
        yield
    except ConfigError:
        raise
    except Exception as error:
        error.add_note(f"Ray's logs are in {folder / 'logs'}")
        kept = True
        raise
    finally:
        os.close(mark)
        if not kept:
            _remove(folder)


def _marked(folder: Path) -> int:
    """The open mark of a folder, which nobody ever sees unlocked while this process lives."""
    made = folder / f"{MARK}.{os.getpid()}"
    mark = os.open(made, os.O_CREAT | os.O_RDWR, 0o600)
    with contextlib.suppress(
        OSError
    ):  # a disk without locks: no folder there is ever removed as old
        fcntl.flock(mark, fcntl.LOCK_EX)
    made.rename(folder / MARK)
    return mark


def _remove_old(among: Path) -> None:
    """Remove what processes that are gone have left, but for the newest; names begin with the time."""
    marks = among.glob(f"session_*/{MARK}")
    left = sorted(m.parent for m in marks if not m.parent.is_symlink() and _is_left(m))
    for folder in left[: max(len(left) - KEPT, 0)]:
        _remove(folder)


def _is_left(mark: Path) -> bool:
    """Whether it is this user's, and no process holds it any more."""
    try:
        file = os.open(mark, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:  # another user's, or just gone
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(file).st_uid == os.getuid()
    except OSError:
        return False
    finally:
        os.close(file)


def _remove(folder: Path) -> None:
    for _ in range(TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        time.sleep(SECONDS)
    latest = folder.parent / LATEST
    with contextlib.suppress(OSError):
        if latest.readlink() == folder:
            latest.unlink()
