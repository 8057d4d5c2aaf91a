"""The folder of a run: what lies where, and writing that leaves either the old file or the new.

``config.yaml``, ``data.json``, ``metrics.jsonl``, ``checkpoints/``, ``students/<k>/``, ``summary.json``.
"""

import contextlib
import errno
import json
import os
import shlex
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from cohort.errors import ConfigError
from cohort.files import atomic_write, lock, to_json
from cohort.invocation import as_argument

ROOM_INSIDE = 200
"""Characters that a path in the folder of a run has at most."""


class RunFolder:
    """Paths in the folder of one run, and its summary.

    Example:
        >>> RunFolder(Path("runs/digits")).student(1).as_posix()
        'runs/digits/students/1'
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, path: Path | str) -> Self:
        """The folder of a new run, made if need be.

        Raises:
            ConfigError: if it holds anything already, or cannot be made.
        """
        folder = cls(path)
        folder.check_free()
        make_folder(folder.metrics, "", "--run-dir", "run")
        return folder

    def check_free(self) -> None:
        """Raise ConfigError if a new run cannot be put here, without touching anything."""
        try:
            occupied = is_occupied(self.path)
        except OSError as error:
            raise ConfigError(f"--run-dir {self.path} cannot be read: {error.strerror}") from error
        if occupied:
            to_resume = shlex.join(["--resume", as_argument(self.path)])
            raise ConfigError(
                f"--run-dir {self.path} already holds something; name a folder that is new or "
                f"empty, or go on with the run in it by {to_resume}"
            )

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """The folder of a run that was started before.

        Raises:
            ConfigError: if there is no run.
        """
        folder = cls(path)
        if not folder.is_there:
            raise ConfigError(f"{path} is not the folder of a run: it has no config.yaml")
        return folder

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
        directory = os.open(self.path, os.O_RDONLY)
        try:
            if not lock(directory):
                raise ConfigError(
                    f"--resume {self.path}: another process trains this run; wait for its end, or stop it"
                )
            yield
        finally:
            os.close(directory)

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

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write ``summary.json`` atomically; a number that is not finite is stored as null."""
        atomic_write(self.summary, to_json(summary, indent=2) + "\n")

    def read_summary(self) -> dict[str, Any]:
        """What ``summary.json`` holds.

        Raises:
            ConfigError: if the run has not written one, or it cannot be read.
        """
        try:
            summary: Any = json.loads(self.summary.read_bytes())
        except FileNotFoundError as error:
            raise ConfigError(f"{self.path} has no summary.json: its run has not ended") from error
        except OSError as error:
            raise ConfigError(f"{self.summary} cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{self.summary} is not valid JSON: {error}") from error
        if not isinstance(summary, dict):
            raise ConfigError(f"{self.summary} must hold keys and values")
        return summary


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
