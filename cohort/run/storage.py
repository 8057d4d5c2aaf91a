"""A folder on a storage that ``pyarrow.fs`` reaches, and copies of the runs there.

A URI names it: ``s3://``, ``gs://``, ``hdfs://`` and what else pyarrow or an installed fsspec knows.
"""

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

from cohort.config import TRACKERS
from cohort.errors import ConfigError
from cohort.files import atomic_write, is_uri
from cohort.imports import one_line
from cohort.run.folder import RunFolder

Returned = TypeVar("Returned")
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each further try of what a storage failed to do."""
LASTING = (FileNotFoundError, PermissionError, NotADirectoryError, NotImplementedError)
"""What no further try would change."""
PASSWORD = re.compile(r"(?P<before>[^/]*:/+[^/?#@]*):(?![0-9]+(/|$))[^?#]*@")
"""In a URI, behind a name; a port is none."""
LONGEST_REASON = 300
"""Characters; some storages answer with a page."""
GOOGLE = re.compile("gc?s://")
PATIENCE = "retry_limit_seconds=10"
"""Of Google's library, which else tries for a quarter of an hour."""
NOT_READ = (".", "checkpoints/", "alone/", *(f"{tracker}/" for tracker in TRACKERS))
"""How names begin of what is in the folder of a run, but not read from there."""


class Storage:
    """Files below a URI, each written and read as a whole, and tried again when that fails.

    Raises ConfigError for a URI that leads nowhere. Methods raise OSError where a storage stays away.
    """

    def __init__(self, uri: str) -> None:
        _check_spelling(uri)
        self.uri = uri
        self._waits: tuple[float, ...] = WAITS[:2]
        try:
            self._files, root = self._tried(lambda: _reach(uri))
        except OSError as error:
            raise ConfigError(f"{uri} cannot be reached: {reason(error)}") from error
        self._waits = WAITS[:2]  # most file systems have not asked anybody yet
        self._root = root.rstrip("/")
        if not self._root:
            raise ConfigError(f"{uri} names no folder there, as s3://BUCKET/RUN does")

    def files(self) -> dict[str, Any]:
        """The ``pyarrow.fs.FileInfo`` of each file, by its path below the URI; none if nothing is there."""
        everything = _arrow().FileSelector(self._root, allow_not_found=True, recursive=True)
        found = self._tried(lambda: self._files.get_file_info(everything))
        above = self._root.strip("/") + "/"
        names = {info.path.strip("/").removeprefix(above): info for info in found if info.is_file}
        return {name: info for name, info in names.items() if ".." not in name.split("/")}

    def read(self, name: str) -> bytes:
        """What a file holds."""

        def read() -> bytes:
            with self._files.open_input_stream(self._place(name), compression=None) as stream:
                content: bytes = stream.read()
                return content

        return self._tried(read)

    def write(self, name: str, content: bytes) -> None:
        """Put a file in the place of what was there; it is as long there when this returns."""
        place = self._place(name)

        def write() -> None:
            try:
                self._put(place, content)
            except FileNotFoundError:  # where a folder is more than a part of names
                self._files.create_dir(place.rpartition("/")[0], recursive=True)
                self._put(place, content)
            size = self._files.get_file_info(place).size
            if size != len(content):
                raise OSError(
                    f"{name} has {size} bytes there, not the {len(content)} that were written"
                )

        self._tried(write)

    def remove(self, folder: str) -> None:
        """Remove a folder and all that is below it; it may be gone already."""
        with contextlib.suppress(FileNotFoundError):
            self._tried(lambda: self._files.delete_dir(self._place(folder)))

    def check_writable(self) -> None:
        """Write a file and remove it again."""
        name = f".cohort-{os.getpid()}/writable"
        self.write(name, b"cohort")
        self.remove(name.partition("/")[0])

    def _put(self, place: str, content: bytes) -> None:
        with self._files.open_output_stream(place, compression=None) as stream:
            stream.write(content)

    def _place(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _tried(self, operation: Callable[[], Returned]) -> Returned:
        """What an operation returns after as many tries as it takes. Raises OSError where all fail.

        A storage that never answered is tried less often, and one that stayed away once.
        """
        for wait in (*self._waits, None):
            try:
                returned = operation()
            except ConfigError:
                raise
            except Exception as error:  # libraries behind fsspec raise errors of their own
                if wait is None or isinstance(error, LASTING):
                    self._waits = () if wait is None else self._waits
                    if isinstance(error, OSError):
                        raise
                    raise OSError(one_line(error)) from error
                time.sleep(wait)
            else:
                self._waits = WAITS
                return returned
        raise AssertionError("the last try returns or raises")


def below(given: str, name: str) -> str:
    """How a user names what is below a place that he names so; options behind ``?`` stay last.

    Example:
        >>> below("runs/a", "alone"), below("s3://bucket/run?region=eu-west-1", "alone")
        ('runs/a/alone', 's3://bucket/run/alone?region=eu-west-1')
    """
    if not is_uri(given):
        return str(Path(given, name))
    place, mark, options = given.partition("?")
    return f"{place.rstrip('/')}/{name}{mark}{options}"


def cache_of(uri: str, kind: str) -> Path:
    """The folder on this machine for what is at a URI: below ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    named = re.sub("[^A-Za-z0-9._-]+", "_", uri.partition("?")[0].rstrip("/").rpartition("/")[2])
    digest = hashlib.sha256(uri.rstrip("/").encode()).hexdigest()[:16]
    return Path(caches) / "cohort" / kind / f"{named[:60]}-{digest}"


def to_read(given: str | Path) -> RunFolder:
    """The folder of a run that somebody named, to read from; of one on a storage, a copy made here.

    Without its checkpoints. Raises ConfigError if a storage cannot be read.
    """
    if not is_uri(given):
        return RunFolder(given)
    uri = str(given)
    storage, copy = Storage(uri), RunFolder(cache_of(uri, "copies"), uri)
    try:
        there = storage.files()
        read = {name: there[name] for name in there if not name.startswith(NOT_READ)}
        state = {name: (info.size, info.mtime_ns) for name, info in read.items()}
        told = all(time is not None for _, time in state.values())
        if not (told and _COPIED.get(uri) == state and copy.is_there):
            fetch(storage, copy.path, read)
    except OSError as error:
        raise ConfigError(f"{uri} cannot be read: {reason(error)}") from error
    _COPIED[uri] = state
    return copy


_COPIED: dict[str, object] = {}
"""Size and time of each file at a URI, as this process copied them."""


def fetch(storage: Storage, folder: Path, names: Collection[str]) -> None:
    """Make a folder hold these files of a storage, and no others but hidden ones. Raises OSError."""
    for name in names:
        atomic_write(folder / name, storage.read(name))
    for path in folder.rglob("*"):
        other = path.relative_to(folder).as_posix() not in names
        if other and path.is_file() and not path.name.startswith("."):
            path.unlink()


def reason(error: Exception) -> str:
    """Why a storage did not do something, with room for it in a sentence."""
    line = one_line(error)
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}…"


def _arrow() -> Any:
    """``pyarrow.fs``, which takes time to import, and few runs need."""
    from pyarrow import fs

    return fs


def _check_spelling(uri: str) -> None:
    """Raise ConfigError for what would be told everywhere, or lost a slash."""
    if found := PASSWORD.match(uri):
        raise ConfigError(
            f"{found['before']}:…@… has a password, which would stand in messages and lists of processes; "
            "give it by the storage's environment variables or files, such as AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )
    if "://" not in uri:
        scheme, _, rest = uri.partition(":/")
        raise ConfigError(
            f"{uri} has one slash behind {scheme}:, as a Path makes of two; a storage is named by text, "
            f"such as {scheme}:{'///' if scheme == 'file' else '//'}{rest}"
        )


def _reach(uri: str) -> tuple[Any, str]:
    """The file system of a URI, and the path in it: pyarrow's own, or fsspec's where pyarrow has none.

    Raises ConfigError if neither knows it.
    """
    if GOOGLE.match(uri) and "retry_limit_seconds" not in uri:
        uri += f"{'&' if '?' in uri else '?'}{PATIENCE}"
    try:
        system, path = _arrow().FileSystem.from_uri(uri)
    except (ValueError, NotImplementedError, ImportError) as error:
        unknown = isinstance(error, NotImplementedError) or "Unrecognized filesystem" in str(error)
        found = _through_fsspec(uri) if unknown else None
        if found is None:
            raise ConfigError(f"{uri} cannot be reached: {reason(error)}") from error
        system, path = found
    return system, path


def _through_fsspec(uri: str) -> tuple[Any, str] | None:
    try:
        import fsspec

        system, path = fsspec.url_to_fs(uri)
    except (ImportError, ValueError):  # neither it, nor what it needs for such a URI, is installed
        return None
    system.invalidate_cache()  # of another's, in this process
    return _arrow().PyFileSystem(_arrow().FSSpecHandler(system)), path
