"""How a run ends: finished, interrupted or failed, its students on disk and summary.json written last."""

import contextlib
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from cohort.errors import RunError
from cohort.files import atomic_write
from cohort.imports import one_line
from cohort.learning.learner import WEIGHTS_FILE
from cohort.learning.student_files import CARD_FILE, ModelCard
from cohort.run.folder import RunFolder
from cohort.run.owner import Owner
from cohort.run.pretrained import read_report
from cohort.version import versions


class Training(Protocol):
    """What is trained for a run's owner: a cohort, or the one student of a job."""

    def train(self) -> bool:
        """Train from the owner's checkpoint on; whether the last step was reached."""
        ...

    def about(self) -> dict[str, Any]:
        """What summary.json says of the method, however the run ended."""
        ...

    def finish(self) -> dict[str, Any]:
        """Write the trained students; what summary.json says of them and of their ensembles."""
        ...


def conclude(owner: Owner, training: Training) -> dict[str, Any]:
    """Train and write down how it ended; returns the summary.

    Raises RunError, after writing a summary with status ``failed``, if the run failed; nothing is
    written if its folder is gone.
    """
    try:
        finished = training.train()
        owner.settle()
        owner.folder.check_kept()
        summary = _head(owner, training, "finished" if finished else "interrupted")
        if finished:
            summary |= training.finish()
            _tell_starts(summary["students"], owner.folder)
        owner.folder.write_summary(summary)
        owner.folder.check_kept()
    except Exception as error:
        owner.give_up()
        owner.folder.check_kept()  # whatever failed, if it is gone, failed of that
        reason = _write_reason(owner.folder, error)
        # A full disk, or a storage that stays away, which may be what the run failed of.
        with contextlib.suppress(OSError, RunError):
            failed = _head(owner, training, "failed")
            owner.folder.write_summary({**failed, "error": reason})
        raise RunError(reason) from error
    return summary


def write_student(folder: Path, weights: bytes, card: ModelCard) -> None:
    """Write what ``load_student`` reads."""
    atomic_write(folder / WEIGHTS_FILE, weights)
    atomic_write(folder / CARD_FILE, card.to_json())


def prefixed(measurements: Mapping[str, Any]) -> dict[str, Any]:
    """Test measurements under the names that ``summary.json`` gives them."""
    return {f"test_{name}": value for name, value in measurements.items()}


def _tell_starts(lines: list[dict[str, Any]], folder: RunFolder) -> None:
    """Add to the students' lines what weights they started from."""
    for student, report in read_report(folder).items():
        for line in lines:
            if line["student"] == student:
                line["pretrained"] = report


def _head(owner: Owner, training: Training, status: str) -> dict[str, Any]:
    return {**owner.head(status, training.about()), "versions": versions()}


def _write_reason(folder: RunFolder, error: Exception) -> str:
    """One sentence that says why a run failed; what is behind it goes into ``error.log``."""
    details: str | None = getattr(error, "details", None)  # of an error in another process
    if isinstance(error, RunError) and details is None:
        return str(error)
    file = folder.path / "error.log"
    reason = str(error) if isinstance(error, RunError) else one_line(error)
    try:
        atomic_write(file, details or "".join(traceback.format_exception(error)))
    except OSError:
        return reason
    return f"{reason} (details in {file})"
