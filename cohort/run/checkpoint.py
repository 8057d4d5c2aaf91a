"""Checkpoints on disk: the whole cohort at one step, or nothing.

A checkpoint is written under a temporary name, its manifest with every file's sha256 last, and then
renamed: a run killed at any moment leaves the previous checkpoint as the newest valid one.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cohort import formats
from cohort.config_file import from_values
from cohort.errors import ConfigError
from cohort.files import sync_directory
from cohort.learning.learner import Files

MANIFEST = "manifest.json"
FILE_NAME = re.compile(r"[0-9]+/[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
"""Of a student's files, so that a manifest leads nowhere else."""


@dataclass
class Progress:
    """What a run has counted so far; saved with every checkpoint."""

    restarts: int = 0
    """Processes of students, or workers, that died and were started again."""
    dropped: list[int] = field(default_factory=list)
    """Students that died and were gone on without."""
    drops: int = 0
    """Processes with these students; 0 where a version that did not count them wrote it."""
    wall_seconds: float = 0.0
    times: dict[str, float] = field(default_factory=dict)
    """Seconds by what they were spent on."""
    teacher_restarts: int = 0
    """Actors with teachers that died and were started again."""

    @property
    def failures(self) -> int:
        """Deaths of processes so far."""
        return self.restarts + (self.drops or len(self.dropped))


@dataclass(frozen=True)
class Checkpoint:
    """One valid checkpoint: ``step`` steps are done."""

    path: Path
    step: int
    students: tuple[int, ...]
    files: Mapping[str, str]
    """sha256 of each file, by its path below the checkpoint's folder."""
    progress: Progress
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The keys of the config that no run may change; none where a version that sealed none wrote it."""

    def load(self, student: int) -> Files:
        """The files of one student, as its learner snapshot them."""
        names = [name for name in self.files if name.startswith(f"{student}/")]
        return {name.split("/", 1)[1]: (self.path / name).read_bytes() for name in names}

    def is_whole(self) -> bool:
        """Whether every file is there with the digest that the manifest gives."""
        try:
            return all(
                hashlib.sha256((self.path / name).read_bytes()).hexdigest() == digest
                for name, digest in self.files.items()
            )
        except OSError:
            return False


def write_checkpoint(
    root: Path,
    step: int,
    snapshots: Iterable[tuple[int, Files]],
    *,
    progress: Progress,
    keep: int,
    settings: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Write ``root/step_XXXXXXXX`` and remove all but the ``keep`` newest.

    ``snapshots`` gives (student, files) one at a time, so one student's state is in memory at once;
    ``settings`` are kept with them. The folder of ``root`` must be there: it is not made again.
    Raises OSError, and leaves what was there, if it cannot be written.
    """
    final = root / _name(step)
    partial = root / f".{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    settings = dict(settings or {})
    try:
        root.mkdir(exist_ok=True)
        partial.mkdir()
        students, digests = _write_files(partial, snapshots)
        manifest = {
            formats.KEY: formats.MANIFEST,
            "step": step,
            "students": students,
            "files": digests,
            "progress": asdict(progress),
            "settings": settings,
        }
        _write_synced(partial / MANIFEST, json.dumps(manifest, indent=1).encode())
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)  # a full disk needs the room
        raise
    shutil.rmtree(final, ignore_errors=True)
    os.replace(partial, final)
    sync_directory(root)
    _remove_others(root, final, keep)
    return Checkpoint(final, step, tuple(students), digests, progress, settings)


def newest_checkpoint(root: Path) -> Checkpoint | None:
    """The newest checkpoint whose files are all there and intact, or None.

    Raises ConfigError for one that a newer version wrote, rather than go back behind it.
    """
    for path in sorted(root.glob("step_*"), reverse=True):
        checkpoint = _read(path)
        if checkpoint is not None and checkpoint.is_whole():
            return checkpoint
    return None


def _name(step: int) -> str:
    return f"step_{step:08d}"


def _read(path: Path) -> Checkpoint | None:
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        formats.check_format(manifest, formats.MANIFEST, path / MANIFEST)
        checkpoint = from_values(Checkpoint, {**manifest, "path": path})
    except ConfigError:
        raise
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    fits = path.name == _name(checkpoint.step) and all(map(FILE_NAME.fullmatch, checkpoint.files))
    return checkpoint if fits and checkpoint.students else None


def _write_files(
    folder: Path, snapshots: Iterable[tuple[int, Files]]
) -> tuple[list[int], dict[str, str]]:
    """The students, and the sha256 of each file by its path below ``folder``."""
    students, digests = [], {}
    for student, files in snapshots:
        students.append(student)
        for name, content in files.items():
            _write_synced(folder / str(student) / name, content)
            digests[f"{student}/{name}"] = hashlib.sha256(content).hexdigest()
    return students, digests


def _write_synced(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)  # without parents: a folder that was removed is not made again
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _remove_others(root: Path, newest: Path, keep: int) -> None:
    """All but ``newest`` and the ``keep`` - 1 before it."""
    there = sorted(root.glob("step_*"))
    # Later ones were damaged, or else the run would not have gone back behind them.
    later = [path for path in there if path > newest]
    old = [path for path in there if path <= newest][:-keep]
    half_written = root.glob(".step_*.partial")  # by a run that was killed
    for path in (*old, *later, *half_written):
        shutil.rmtree(path, ignore_errors=True)
