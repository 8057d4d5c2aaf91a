"""What a command that trained says at its end, and its exit code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from cohort.errors import INTERRUPTED, SUCCESS
from cohort.invocation import command_line
from cohort.reporting.table import print_summary


class Result(Protocol):
    """A run that ended."""

    @property
    def run_dir(self) -> Path:
        """Its folder."""

    @property
    def summary(self) -> Mapping[str, Any]:
        """summary.json."""

    @property
    def interrupted(self) -> bool:
        """Whether a signal stopped it before its last step."""


def tell_ending(result: Result, command: str, baseline: Mapping[str, Any] | None = None) -> int:
    """Print the table, or how to go on; ``baseline`` is the summary of the same students alone."""
    if result.interrupted:
        print(f"interrupted; go on with: {command_line(command, '--resume', result.run_dir)}")
        return INTERRUPTED
    print_summary(Console(), result.summary, baseline)
    print(f"everything is in {result.run_dir}")
    return SUCCESS
