"""Checkpoints on disk: the whole cohort at one step, or nothing.

A checkpoint is written under a temporary name, its manifest with every file's sha256 last, and then
renamed: a run killed at any moment leaves the previous checkpoint as the newest valid one.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cohort.learning.learner import Files
from cohort.run_folder import sync_directory

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """One valid checkpoint: ``step`` steps are done."""

    path: Path
    step: int
    students: tuple[int, ...]
    files: Mapping[str, str]
    """sha256 of each file, by its path below the checkpoint's folder."""
    progress: Mapping[str, Any]
    """What the run had counted by then: seconds, restarts, dropped students."""

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
    progress: Mapping[str, Any],
    keep: int,
) -> Checkpoint:
    """Write ``root/step_XXXXXXXX`` and remove all but the ``keep`` newest.

    ``snapshots`` gives (student, files) one at a time, so one student's state is in memory at once.
    """
    final = root / f"step_{step:08d}"
    partial = root / f".{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    students, digests = [], {}
    for student, files in snapshots:
        students.append(student)
        for name, content in files.items():
            _write_synced(partial / str(student) / name, content)
            digests[f"{student}/{name}"] = hashlib.sha256(content).hexdigest()
    manifest = {"step": step, "students": students, "files": digests, "progress": dict(progress)}
    _write_synced(partial / MANIFEST, json.dumps(manifest, indent=1).encode())
    shutil.rmtree(final, ignore_errors=True)
    os.replace(partial, final)
    sync_directory(root)
    _remove_old(root, keep)
    return Checkpoint(final, step, tuple(students), digests, dict(progress))


def newest_checkpoint(root: Path) -> Checkpoint | None:
    """The newest checkpoint whose files are all there and intact, or None."""
    for path in sorted(root.glob("step_*"), reverse=True):
        checkpoint = _read(path)
        if checkpoint is not None and checkpoint.is_whole():
            return checkpoint
    return None


def _read(path: Path) -> Checkpoint | None:
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        return Checkpoint(
            path,
            manifest["step"],
            tuple(manifest["students"]),
            manifest["files"],
            manifest["progress"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_synced(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _remove_old(root: Path, keep: int) -> None:
    # What a killed run left half written goes too.
    for old in [*sorted(root.glob("step_*"))[:-keep], *root.glob(".step_*.partial")]:
        shutil.rmtree(old, ignore_errors=True)
