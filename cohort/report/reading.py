"""The files of a run as they are: whole, unfinished or damaged. What cannot be read is said, not raised."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cohort.config_file import ONLY, read_config
from cohort.errors import ConfigError
from cohort.reporting.formatting import is_number
from cohort.reporting.records import EVENT, Record
from cohort.run.data_card import DataCard, read_data_card
from cohort.run.folder import RunFolder

UNFINISHED = "not ended"
"""The status of a run without a summary: it trains, or was killed."""
ANALYSES, INDEX = "analysis", "index.json"
"""Where analyses of a run lie in its folder, and which there are."""
LONGEST = 18
"""Digits of a number that is counted."""


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """What is known of a run."""

    folder: RunFolder
    name: str
    """How the page calls it."""
    config: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    records: tuple[Record, ...] = ()
    events: tuple[Record, ...] = ()
    data: DataCard | None = None
    alone: Mapping[str, Any] = field(default_factory=dict)
    """The summary of the same students alone, where --baseline trained them."""
    lacking: tuple[str, ...] = ()
    """A sentence for each thing that is missing."""

    @property
    def command(self) -> str | None:
        """Which of the commands that train it is of, ``train`` for one; None if that cannot be told."""
        return next((name for key, name in ONLY.items() if key in self.config), None)

    @property
    def status(self) -> str:
        """finished, interrupted, failed, or not ended."""
        return str(self.summary.get("status", UNFINISHED))

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more unless somebody resumes it."""
        return bool(self.summary)

    @property
    def seed(self) -> int:
        """Of its students and its data."""
        found = self.config.get("seed", self.summary.get("seed"))
        return found if is_number(found) and isinstance(found, int) else 0


def is_run(folder: RunFolder) -> bool:
    """Whether a run was ever here: one of its files is."""
    return any(file.is_file() for file in (folder.config, folder.metrics, folder.summary))


def read_run(folder: RunFolder, name: str) -> RunFiles:
    """The files of a run that was started here, whatever is left of them."""
    lacking: list[str] = []
    records, events = _read_records(folder, lacking)
    return RunFiles(
        folder=folder,
        name=name,
        config=_read_config(folder, lacking),
        summary=_read_summary(folder, lacking),
        records=records,
        events=events,
        data=_read_data(folder, lacking),
        alone=_read_alone(folder),
        lacking=tuple(lacking),
    )


def _read_config(folder: RunFolder, lacking: list[str]) -> Mapping[str, Any]:
    try:
        return {str(key): value for key, value in read_config(folder.config).items()}
    except ConfigError as error:
        lacking.append(f"No configuration: {error}.")
        return {}


def _read_summary(folder: RunFolder, lacking: list[str]) -> Mapping[str, Any]:
    if not folder.summary.exists():
        lacking.append("No summary.json: the run has not ended, or was killed.")
        return {}
    try:
        return folder.read_summary()
    except ConfigError as error:
        lacking.append(f"No result: {error}.")
        return {}


def _read_data(folder: RunFolder, lacking: list[str]) -> DataCard | None:
    try:
        return read_data_card(folder)
    except ConfigError as error:
        lacking.append(f"No description of the data: {error}.")
        return None


def _read_alone(folder: RunFolder) -> Mapping[str, Any]:
    alone = RunFolder(folder.path / "alone")
    try:
        return alone.read_summary() if alone.summary.exists() else {}
    except ConfigError:  # a run of its own, of which a page of its own tells that
        return {}


def _read_records(
    folder: RunFolder, lacking: list[str]
) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Measurements and events, by whole lines; damaged ones are counted."""
    try:
        text = folder.metrics.read_bytes()
    except OSError as error:
        lacking.append(f"No curves: {folder.metrics} cannot be read ({error.strerror}).")
        return (), ()
    found = [_parsed(line) for line in text.splitlines()]
    if found and found[-1] is None and not text.endswith(b"\n"):
        found.pop()
        lacking.append("The last line of metrics.jsonl is cut, and left out.")
    if broken := sum(record is None for record in found):
        lacking.append(f"{broken} damaged lines of metrics.jsonl are left out.")
    whole = [record for record in found if record is not None]
    if not whole:
        lacking.append("No curves: nothing has been measured yet.")
    return (
        tuple(record for record in whole if record["phase"] != EVENT),
        tuple(record for record in whole if record["phase"] == EVENT),
    )


def _parsed(line: bytes) -> Record | None:
    """A record whose head is as it should be, else None."""
    try:
        record = json.loads(line, parse_int=_whole)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("phase"), str):
        return None
    if not all(is_number(record.get(key)) for key in ("time", "step", "epoch")):
        return None
    if not isinstance(record["step"], int) or record["step"] < 0:
        return None
    student = record.get("student")
    named = isinstance(student, int | str) and not isinstance(student, bool)
    return record if named or record["phase"] == EVENT else None


def _whole(digits: str) -> int | float:
    """A whole number; one that nothing counts to, and no float may hold, as a float."""
    return int(digits) if len(digits) <= LONGEST else float(digits)
