"""TensorBoard files in the folder of the run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from cohort.reporting.records import Record
from cohort.reporting.tracking.tracker import About, scalars


class TensorBoard:
    """A ``Tracker`` that writes event files.

    Args:
        folder: where they go.
    """

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter  # an extra, and slow to import

        self._make: Any = SummaryWriter
        self._folder = folder
        self._writer: Any = SummaryWriter(str(folder))

    @classmethod
    def open(cls, about: About) -> Self:
        """The files of a run, and its config among them."""
        board = cls(about.folder / "tensorboard")
        board.tell("config", about.config)
        return board

    def tell(self, name: str, values: Mapping[str, Any]) -> None:
        """Write values as a text."""
        lines = yaml.safe_dump(dict(values), sort_keys=False).splitlines()
        text = "".join(f"    {line}\n" for line in lines)  # code, in Markdown
        self._writer.add_text(name, text)

    def write(self, records: Sequence[Record]) -> None:
        """Write each number of the records at its step and time."""
        for record in records:
            for name, value in scalars(record):
                self._writer.add_scalar(name, value, record["step"], walltime=record["time"])
        self._writer.flush()

    def rewind(self, step: int) -> None:
        """Have TensorBoard hide what was written after a step."""
        self._writer.close()
        self._writer = self._make(str(self._folder), purge_step=step + 1)

    def conclude(self, summary: Mapping[str, Any]) -> None:
        """Write the summary as a text."""
        self.tell("summary", summary)

    def close(self, status: str) -> None:
        """Write out what is buffered and close the file."""
        self._writer.close()
