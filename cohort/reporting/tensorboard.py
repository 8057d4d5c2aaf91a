"""TensorBoard files from the same records as ``metrics.jsonl``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cohort.errors import ConfigError
from cohort.reporting.records import Record

HEAD = frozenset({"time", "phase", "step", "epoch", "student"})
"""The keys of a record that say what was measured rather than how much."""


def summary_writer() -> Any:
    """torch's SummaryWriter, imported here because it is an extra, and slow to import.

    Raises ConfigError if tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "--tensorboard needs a package that is not installed: pip install 'cohort[track]'"
        ) from error
    return SummaryWriter


class TensorBoardSink:
    """A sink that writes every number of a record as a scalar ``train/loss/student_0``.

    Args:
        folder: where the event files go.
        resumed_at: step from which a run goes on; TensorBoard then hides what it wrote after that.

    Raises:
        ConfigError: if tensorboard is not installed.
    """

    def __init__(self, folder: Path, resumed_at: int | None = None) -> None:
        purge = None if resumed_at is None else resumed_at + 1
        self._writer: Any = summary_writer()(str(folder), purge_step=purge)

    def write(self, record: Record) -> None:
        """Write each number of the record at its step and time."""
        student = record["student"]
        who = student if isinstance(student, str) else f"student_{student}"
        for name, value in _numbers({k: v for k, v in record.items() if k not in HEAD}):
            self._writer.add_scalar(
                f"{record['phase']}/{name}/{who}", value, record["step"], walltime=record["time"]
            )

    def close(self) -> None:
        """Write out what is buffered and close the file."""
        self._writer.close()


def _numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Numbers in a record by path, ``exits/ce/1`` for those in lists and dicts; lists from 1."""
    if isinstance(value, int | float):
        yield name, value
    elif isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value, start=1)
        for key, item in items:
            yield from _numbers(item, f"{name}/{key}" if name else str(key))
