"""The folder of a run: what lies where, and writing that leaves either the old file or the new.

``config.yaml``, ``data.json``, ``metrics.jsonl``, ``checkpoints/``, ``students/<k>/``, ``summary.json``.
"""

import contextlib
import errno
import os
import shlex
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, TypeAdapter

from cohort import formats
from cohort.cards import read_fields
from cohort.errors import ConfigError, RunError
from cohort.files import atomic_write, lock, to_json
from cohort.invocation import as_argument
from cohort.reporting.tracking.tracker import MEMORY

if TYPE_CHECKING:  # it imports torch
    from cohort.run.checkpoint import Checkpoint

ROOM_INSIDE = 200
"""Characters that a path in the folder of a run has at most."""


@dataclass(frozen=True)
class Line:
    """What whoever reads a summary takes for granted in a student's line."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True)

    student: int
    weights_sha256: str = ""


@dataclass(frozen=True)
class Summary:
    """What whoever reads a summary takes for granted."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True)

    status: Literal["finished", "interrupted", "failed"]
    students: list[Line] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)


_READER = TypeAdapter(Summary)


class RunFolder:
    """Paths in the folder of one run, and its summary.

    Args:
        path: the folder.
        given: how the user names it, if otherwise.

    Example:
        >>> RunFolder(Path("runs/digits")).student(1).as_posix()
        'runs/digits/students/1'
    """

    def __init__(self, path: Path | str, given: str | None = None) -> None:
        self.path = Path(path)
        self.given = given or str(self.path)
        """How the user names it."""
        self._held: os.stat_result | None = None
        self._file: int | None = None
        self._saved = False

    def make(self) -> Self:
        """Make the folder of a new run, if need be.

        Raises:
            ConfigError: if it holds anything already, or cannot be made.
        """
        self.check_free()
        make_folder(self.metrics, "", "--run-dir", "run")
        return self

    def check_free(self) -> None:
        """Raise ConfigError if a new run cannot be put here, without touching anything."""
        if self.is_taken:
            to_resume = shlex.join(["--resume", as_argument(self.given)])
            raise ConfigError(
                f"--run-dir {self.given} already holds something; name a folder that is new or "
                f"empty, or go on with the run in it by {to_resume}"
            )

    @property
    def is_taken(self) -> bool:
        """Whether there is anything here. Raises ConfigError if that cannot be looked up."""
        try:
            return is_occupied(self.path)
        except OSError as error:
            raise ConfigError(f"--run-dir {self.path} cannot be read: {error.strerror}") from error

    def check_writable(self, flag: str) -> None:
        """Raise ConfigError, naming the flag, if nothing can be put here; nothing is left."""
        check_writable(self.path, flag)

    def opened(self) -> Self:
        """The folder, if a run was started in it before.

        Raises:
            ConfigError: if there is no run.
        """
        if not self.is_there:
            raise ConfigError(f"{self.given} is not the folder of a run: it has no config.yaml")
        return self

    @property
    def is_there(self) -> bool:
        """Whether a run was started here. Raises ConfigError if that cannot be looked up."""
        try:
            return self.config.is_file()
        except OSError as error:  # no permission, or no possible name
            raise ConfigError(f"{self.path} cannot be read: {error.strerror}") from error

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Inside, no other process trains this run; however this one ends, the folder is free again.

        Raises:
            ConfigError: if another process does.
        """
        directory = self._file = os.open(self.path, os.O_RDONLY)
        self._held = os.fstat(directory)
        try:
            if not lock(directory):
                raise ConfigError(
                    f"--resume {self.given}: another process trains this run; wait for its end, or stop it"
                )
            yield
        finally:
            self._held = self._file = None
            os.close(directory)

    def hold(self) -> int:
        """A file that holds the folder too until it is closed, though ``held`` may have ended before."""
        assert self._file is not None, "nobody holds the folder"
        return os.dup(self._file)

    @property
    def is_kept(self) -> bool:
        """Whether the folder that is held is still where it was, with what the run put there.

        A disk that does not answer is no folder that went.
        """
        assert self._held is not None, "nobody holds the folder"
        try:
            there = os.path.samestat(self.path.stat(), self._held)
            whole = self.checkpoints.exists() or not self._saved
            return there and whole and self.config.exists() and self.metrics.exists()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True

    def check_kept(self) -> None:
        """Raise RunError if the folder was removed under the run, or moved, wholly or in part."""
        if not self.is_kept:
            raise RunError(
                f"{self.path} was removed or moved while its run was going on, and the run with it; if it "
                "lies elsewhere now, --resume it there, or else start again with another --run-dir"
            )

    @property
    def config(self) -> Path:
        """The resolved config; ``--config`` on it repeats the run."""
        return self.path / "config.yaml"

    @property
    def data(self) -> Path:
        """What was read to learn from; see ``cohort.run.data_card``."""
        return self.path / "data.json"

    @property
    def pretrained(self) -> Path:
        """What students were given to start from; see ``cohort.run.pretrained``."""
        return self.path / "pretrained.json"

    @property
    def trackers(self) -> Path:
        """What trackers need to go on; see ``cohort.reporting.tracking.tracker``."""
        return self.path / MEMORY

    @property
    def metrics(self) -> Path:
        """One JSON object a line; see ``cohort.reporting.records``."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Folder of ``step_00001234`` folders."""
        return self.path / "checkpoints"

    @property
    def summary(self) -> Path:
        """The result, written last."""
        return self.path / "summary.json"

    def student(self, student: int) -> Path:
        """Folder of a student's final weights."""
        return self.path / "students" / str(student)

    def begun(self) -> None:
        """What describes the run is written: a folder that is copied elsewhere copies it."""

    def saved(self, checkpoint: "Checkpoint", keep: int) -> None:
        """A checkpoint is written: a folder that is copied elsewhere copies it, and keeps as many."""
        self._saved = True

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write ``summary.json`` atomically; a number that is not finite is stored as null."""
        atomic_write(self.summary, to_json(summary, indent=2) + "\n")

    def read_summary(self) -> dict[str, Any]:
        """What ``summary.json`` holds.

        Raises:
            ConfigError: if the run has not written one, or it cannot be read.
        """
        try:
            return read_fields(self.summary, _READER, formats.SUMMARY, "how a run ended")
        except FileNotFoundError as error:
            raise ConfigError(f"{self.path} has no summary.json: its run has not ended") from error
        except OSError as error:
            raise ConfigError(f"{self.summary} cannot be read: {error.strerror}") from error


def is_occupied(path: Path) -> bool:
    """Whether there is something other than an empty folder."""
    return path.exists() and (not path.is_dir() or any(path.iterdir()))


def check_writable(path: Path, flag: str) -> None:
    """Raise ConfigError, naming the flag, for a folder that cannot be made or written; none is left."""
    try:
        there = next(parent for parent in (path, *path.parents) if parent.exists())
        longest = max(map(len, map(os.fsencode, path.relative_to(there).parts)), default=0)
        whole = len(os.fsencode(path.absolute())) + ROOM_INSIDE
        if longest > os.pathconf(there, "PC_NAME_MAX") or whole > os.pathconf(there, "PC_PATH_MAX"):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        with tempfile.TemporaryDirectory(dir=there, prefix=".cohort-"):
            pass  # permissions do not tell of everything that keeps one from writing
    except OSError as error:
        raise ConfigError(f"{flag} {path} cannot be written: {error.strerror or error}") from error


def make_folder(first: Path, text: str, flag: str, what: str) -> None:
    """Make a folder if need be, and its first file, which says that it is taken.

    Raises ConfigError, naming the flag, if another ``what`` was quicker, or it cannot be written.
    """
    made: list[Path] = []
    try:
        made += [folder for folder in first.parents if not folder.exists()]
        first.parent.mkdir(parents=True, exist_ok=True)
        # Of two that find the same folder empty, only one can make this file.
        with first.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(
            f"{flag} {first.parent} is taken by another {what}; name a new one"
        ) from error
    except OSError as error:
        for folder in made:
            with contextlib.suppress(
                OSError
            ):  # it was not made, or another has put something there
                folder.rmdir()
        raise ConfigError(
            f"{flag} {first.parent} cannot be written: {error.strerror or error}"
        ) from error


def default_path(name: str) -> Path:
    """``runs/<name>-<time>``, with -2, -3, … appended while that exists."""
    first = Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, count = first, 1
    while path.exists():
        count += 1
        path = first.with_name(f"{first.name}-{count}")
    return path
