"""What is told and written of the weights that students start from, if not from random numbers.

Only step 0 needs them, and its checkpoint has them, from which every recovery and every
later start goes on: the file may be gone then, and other nodes never need it.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from cohort import formats
from cohort.errors import ConfigError
from cohort.files import atomic_write, to_json
from cohort.learning.pretrained import Pretrained
from cohort.run.folder import RunFolder

Start = Mapping[int, Pretrained]
"""The weights that each student starts from, of those that do not start anew."""


def write_report(folder: RunFolder, start: Start) -> None:
    """Write down what was loaded, for the summary of a run that may end in another process."""
    if not start:
        return
    lines = {str(student): pretrained.report() for student, pretrained in start.items()}
    text = to_json({formats.KEY: formats.PRETRAINED, "students": lines}, indent=2) + "\n"
    try:
        atomic_write(folder.pretrained, text)
    except OSError as error:
        raise ConfigError(f"{folder.pretrained} cannot be written: {error.strerror}") from error


def read_report(folder: RunFolder) -> dict[int, Any]:
    """What ``write_report`` wrote, by student; nothing for a run whose students started anew."""
    try:
        written = json.loads(folder.pretrained.read_bytes())
        return {int(student): line for student, line in written["students"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}  # damaged: no reason to lose what was trained


def notices(start: Start) -> Iterator[str]:
    """A sentence for each student, and one for those that start alike."""
    for student, pretrained in start.items():
        new, unused = len(pretrained.new), len(pretrained.unused)
        names = f" ({', '.join(pretrained.new[:2])}{', …' * (new > 2)})" if new else ""
        yield (
            f"student {student} starts from {pretrained.file.given}: {len(pretrained.fitting)} tensors "
            f"loaded, {new} new{names}, {unused} of the file unused"
        )
    yield from _alike(start)


def _alike(start: Start) -> Iterator[str]:
    """A sentence for students that have all of their weights from the same file."""
    students_of: dict[str, list[str]] = {}
    for student, pretrained in start.items():
        if not pretrained.new:
            students_of.setdefault(pretrained.file.sha256, []).append(str(student))
    for students in students_of.values():
        if len(students) > 1:
            yield (
                f"students {', '.join(students)} start as one and the same: nothing in them is new, so "
                "they stay equal unless their networks draw, as dropout does; give them different files"
            )
