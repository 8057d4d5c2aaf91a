"""What a command that trained says at its end, and its exit code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from cohort.cli.parser import INTERRUPTED, SUCCESS
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


def tell_ending(result: Result, script: str, baseline: Mapping[str, Any] | None = None) -> int:
    """Print the table, or how to go on; ``baseline`` is the summary of the same students alone."""
    console = Console()
    if result.interrupted:
        console.print(
            f"interrupted; go on with: python scripts/{script} --resume {result.run_dir}",
            soft_wrap=True,
        )
        return INTERRUPTED
    print_summary(console, result.summary, baseline)
    console.print(f"everything is in {result.run_dir}", soft_wrap=True)
    return SUCCESS
