"""A trained student as a folder for others: weights, how to rebuild it, a graph for torch alone, a card."""

import dataclasses
from pathlib import Path
from typing import Any

import torch

from cohort.errors import ConfigError
from cohort.files import atomic_write
from cohort.learning.export import as_torch_export, select
from cohort.learning.learner import WEIGHTS_FILE
from cohort.learning.student_files import CARD_FILE, read_card
from cohort.reporting.formatting import is_number
from cohort.reporting.scores import headline
from cohort.run.finished import students_of
from cohort.run.folder import RunFolder, check_writable, is_occupied
from cohort.run.model_card import Shared, measured, readme
from cohort.run.storage import to_read

GRAPH_FILE = "model.pt2"
README_FILE = "README.md"
BEST_FOLDER = "best"


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which student is shared."""

    student: int
    folder: Path
    why: str
    """How it was chosen, for the card."""
    line: dict[str, Any]
    """Of summary.json: its measurements."""


def share(
    run_dir: str,
    destination: Path,
    *,
    student: int | None = None,
    license: str | None = None,
    trust_code: bool = False,
) -> Path:
    """Write a student of a finished run into a new folder; returns the folder.

    Args:
        run_dir: the run's folder, or its URI.
        destination: a folder that is new or empty.
        student: its number, with the weights of the last step; by default the one that did best on
            the validation split, with its best weights if the run kept them, or without such a split
            student 0. Never chosen by what is reported, the test split.
        license: an identifier, such as ``apache-2.0``, for the card.
        trust_code: run the code of a network of one's own.

    Raises:
        ConfigError: if the run has not finished or has no such student, its files are damaged,
            something lies at ``destination``, or the network cannot be exported or is code that is
            not trusted.
    """
    check_free(destination)
    found = students_of(run_dir, "RUN_DIR")
    folder = to_read(run_dir).opened()
    chosen = _chosen(folder, found, student)
    files = {name: _content(chosen.folder / name) for name in (WEIGHTS_FILE, CARD_FILE)}
    files[GRAPH_FILE] = _graph(chosen, trust_code)
    card = read_card(chosen.folder)
    shared = Shared.of(folder, card, chosen.line, chosen.why, license)
    files[README_FILE] = readme(shared).encode()
    try:
        for name, data in files.items():
            atomic_write(destination / name, data)
    except OSError as error:
        raise ConfigError(f"--to {destination} cannot be written: {error.strerror}") from error
    return destination


def check_free(destination: Path) -> None:
    """Raise ConfigError if what is shared would lie among other files, or cannot be written."""
    try:
        occupied = is_occupied(destination)
    except OSError as error:
        raise ConfigError(f"--to {destination} cannot be read: {error.strerror}") from error
    if occupied:
        raise ConfigError(
            f"--to {destination} already holds something; name a folder that is new or empty"
        )
    check_writable(destination, "--to")


def _graph(chosen: Choice, trust_code: bool) -> bytes:
    """The whole network, or the deepest of its exits, as torch.export's archive."""
    card, module = select(chosen.folder, None, trust_code)
    module = module.to(memory_format=torch.contiguous_format)
    (graph,) = as_torch_export(module, card).values()
    return graph


def _chosen(folder: RunFolder, found: dict[int, Path], student: int | None) -> Choice:
    summary = folder.read_summary()
    lines = {line["student"]: line for line in summary.get("students", ())}
    if lost := [number for number in found if number not in lines]:
        raise ConfigError(
            f"{folder.summary} says nothing of student {lost[0]}, who is in students/"
        )
    if student is not None:
        if student not in found:
            raise ConfigError(
                f"--student is {student}, but {folder.given} has trained students "
                f"{', '.join(map(str, found))}"
            )
        return Choice(student, found[student], f"Student {student} of its run.", lines[student])
    first = next(iter(found))
    if isinstance(summary.get("best"), dict) and (found[first] / BEST_FOLDER).is_dir():
        best = {**lines[first], **summary["best"]}
        why = f"With its weights of epoch {summary['best']['epoch']:g}, the best by the validation split."
        return Choice(first, found[first] / BEST_FOLDER, why, best)
    scores = _validated(folder, found)
    if scores:
        number = max(scores, key=lambda student: scores[student])
        why = f"Student {number}, the best of its run by the validation split."
        return Choice(number, found[number], why, lines[number])
    why = f"Student {first} of its run, which had no validation split to choose by."
    return Choice(first, found[first], why, lines[first])


def _validated(folder: RunFolder, found: dict[int, Path]) -> dict[int, float]:
    """By student, the newest measurement on the validation split by which it is judged."""
    newest: dict[int, float] = {}
    for record in measured(folder):
        value, student = record.get(headline(record)), record.get("student")
        if record.get("phase") != "validation" or not is_number(value):
            continue
        if isinstance(student, int) and student in found:
            newest[student] = value
    return newest


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
