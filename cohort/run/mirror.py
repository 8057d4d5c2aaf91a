"""The folder of a run on a storage: the run works in a mirror of it on this machine, which is copied there.

What the storage holds counts: a run that goes on begins with what it finds there, here or elsewhere.
"""

import contextlib
import shlex
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Self

from cohort.config import TRACKERS
from cohort.errors import ConfigError, RunError
from cohort.files import is_uri
from cohort.invocation import as_argument
from cohort.run.checkpoint import MANIFEST, Checkpoint, newest_checkpoint
from cohort.run.folder import RunFolder, make_folder
from cohort.run.storage import Storage, cache_of, fetch, reason


def run_folder(given: str | Path) -> RunFolder:
    """The folder of a run that is to be trained, where somebody named it: a path, or a URI.

    Raises ConfigError for a URI that leads nowhere.
    """
    return MirroredFolder(str(given)) if is_uri(given) else RunFolder(given)


class MirroredFolder(RunFolder):
    """The folder at a URI; ``path`` is the mirror.

    What is written there is copied in such an order that it is whole, or not seen: a checkpoint's
    manifest after its files and the records up to it, older ones removed after that, the summary last.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(cache_of(uri, "runs"), uri)
        self._storage = Storage(uri)

    def make(self) -> Self:
        """Begin with an empty mirror, whatever an earlier run at this URI left in it."""
        self.check_free()
        self.path.mkdir(parents=True, exist_ok=True)
        with super().held():
            for left in self.path.iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        make_folder(self.metrics, "", "--run-dir", "run")
        return self

    @property
    def is_taken(self) -> bool:
        """Whether there is anything at the URI."""
        return bool(self._found())

    def check_writable(self, flag: str) -> None:
        """Raise ConfigError, naming the flag, if nothing can be put at the URI, or in the mirror."""
        super().check_writable(flag)
        try:
            self._storage.check_writable()
        except OSError as error:
            raise ConfigError(f"{flag} {self.given} cannot be written: {reason(error)}") from error

    def opened(self) -> Self:
        """The folder with what a run needs to go on as it is at the URI, whatever the mirror held.

        Its newest checkpoint is there that is whole, if one is. Raises ConfigError if there is no run,
        or it cannot be fetched, or a process of this machine trains it.
        """
        found = self._found()
        if self.config.name not in found:
            raise ConfigError(f"{self.given} is not the folder of a run: it has no config.yaml")
        super().check_writable("--resume")
        self.path.mkdir(parents=True, exist_ok=True)
        with super().held():
            try:
                self._fetch(found)
            except OSError as error:
                raise self._unread(error) from error
        return self

    def _fetch(self, found: dict[str, Any]) -> None:
        described = (self.config, self.data, self.pretrained, self.trackers)
        files = (*described, self.metrics, self.summary)
        names = [file.name for file in files if file.name in found]
        for step in reversed(_steps(found)):
            fetch(
                self._storage, self.path, [*names, *(n for n in found if n.startswith(f"{step}/"))]
            )
            if newest_checkpoint(self.checkpoints) is not None:
                return
        fetch(self._storage, self.path, names)

    def _found(self) -> dict[str, Any]:
        try:
            return self._storage.files()
        except OSError as error:
            raise self._unread(error) from error

    def _unread(self, error: OSError) -> ConfigError:
        return ConfigError(f"{self.given} cannot be read: {reason(error)}")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """As of any folder, on this machine; afterwards, what was written to the end is copied."""
        with super().held():
            yield
            for tracker in TRACKERS:
                self._copy(*_files(self.path / tracker))

    def check_kept(self) -> None:
        """Raise RunError if the mirror was removed under the run, or moved."""
        if not self.is_kept:
            raise RunError(
                f"{self.path}, where the run at {self.given} works on this machine, was removed or moved "
                f"while it was going on; go on by {_to_resume(self.given)}"
            )

    def begun(self) -> None:
        """Copy what describes the run; raises RunError if the storage stays away."""
        described = (self.data, self.pretrained, self.config)
        self._copy(*(file for file in described if file.exists()))

    def saved(self, checkpoint: Checkpoint, keep: int) -> None:
        """Copy a checkpoint, which is one when this returns, and remove all but the ``keep`` newest.

        Raises RunError if the storage stays away.
        """
        super().saved(checkpoint, keep)
        files = [checkpoint.path / name for name in checkpoint.files]
        memory = [self.trackers] if self.trackers.exists() else []
        self._copy(*files, *memory, self.metrics, checkpoint.path / MANIFEST)
        with self._telling():
            found = self._storage.files()
            self._check_whole(found)
            self._remove_others(found, self._name(checkpoint.path), keep)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write ``summary.json`` as in any folder, and copy it after all that belongs to it.

        Raises OSError if it cannot be written, and RunError if the storage stays away.
        """
        super().write_summary(summary)
        files = [file for file in self.path.iterdir() if file.is_file() and file != self.summary]
        students = _files(self.path / "students")
        self._copy(
            *(file for file in files if not file.name.startswith(".")), *students, self.summary
        )

    def _copy(self, *files: Path) -> None:
        with self._telling():
            for file in files:
                self._storage.write(self._name(file), file.read_bytes())

    def _name(self, path: Path) -> str:
        """Below the folder, here and there."""
        return path.relative_to(self.path).as_posix()

    def _check_whole(self, found: Collection[str]) -> None:
        """Raise RunError if what a run needs to go on is there no more."""
        if self.config.name not in found:
            raise RunError(
                f"{self.given} was emptied or moved while its run was going on; all of it is in "
                f"{self.path}: go on with that by {_to_resume(self.path)}"
            )

    def _remove_others(self, found: dict[str, Any], newest: str, keep: int) -> None:
        """All checkpoints but ``newest`` and the ``keep`` - 1 before it, and what is left of others."""
        kept = [step for step in _steps(found) if step <= newest][-keep:]
        there = {"/".join(name.split("/")[:2]) for name in found if name.startswith("checkpoints/")}
        for step in sorted(there - set(kept)):
            self._storage.remove(step)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """What fails inside ends the run, with a sentence that says where everything is."""
        try:
            yield
        except OSError as error:
            how = "start the run again when it can be"
            if any(self.checkpoints.glob("step_*")):
                how = (
                    f"what was not copied there is in {self.path}: go on with that by "
                    f"{_to_resume(self.path)}, or from the last checkpoint there by {_to_resume(self.given)}"
                )
            raise RunError(f"{self.given} cannot be written ({reason(error)}); {how}") from error


def _steps(found: dict[str, Any]) -> list[str]:
    """The folders of checkpoints that were copied to the end, oldest first."""
    folders = [name.removesuffix(f"/{MANIFEST}") for name in found if name.endswith(f"/{MANIFEST}")]
    return sorted(folder for folder in folders if folder.startswith("checkpoints/step_"))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _to_resume(place: object) -> str:
    return shlex.join(["--resume", as_argument(place)])
