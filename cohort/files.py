"""Files that are whole or as they were; JSON as the standard has it; locks that no dead process holds.

And places that are no folders of this machine, told by their names.
"""

import contextlib
import errno
import fcntl
import json
import math
import os
import re
from pathlib import Path
from typing import Any

from cohort.errors import ConfigError

WITHOUT = (errno.ENOLCK, errno.ENOTSUP, errno.EBADF, errno.EINVAL)
"""What some network disks say, which have no locks, or none of folders."""
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""How one begins; a second slash may have been lost, as in a Path."""


def lock(file: int, *, shared: bool = False, wait: bool = False) -> bool:
    """Whether an open file or folder is locked now, until it is closed; False if another has it.

    ``shared`` with others that want it so; ``wait`` for its turn. On a disk without locks it is
    nobody's, and so anyone's.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in WITHOUT:
            raise
    return True


def atomic_write(path: Path, data: bytes | str) -> None:
    """Replace a file so that a reader, even after a crash, sees all of it or the old one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):  # the reason for the failure matters more
            temporary.unlink()
        raise
    sync_directory(path.parent)


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON as the standard has it: NaN and infinity, which it lacks, become null.

    Example:
        >>> to_json({"loss": float("nan"), "exits": [0.5, float("inf")]})
        '{"loss": null, "exits": [0.5, null]}'
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sync_directory(path: Path) -> None:
    """Put a folder's entries on disk.

    Without this a power cut can undo a rename although the file's data are on disk.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_uri(place: object) -> bool:
    """Whether a place is named as on a storage, such as a bucket, rather than as a path.

    Example:
        >>> is_uri("s3://bucket/run"), is_uri("runs/a")
        (True, False)
    """
    return URI.match(str(place)) is not None


def refuse_uri(place: object, named: str) -> None:
    """Raise ConfigError if a place on a storage is given where only a path is taken.

    ``named`` is the flag or argument that it was given by.
    """
    if is_uri(place):
        raise ConfigError(
            f"{named} is {str(place)!r}, on a storage; it must be a path on this machine, to which "
            "pyarrow.fs.copy_files(URI, PATH) copies what is there"
        )
