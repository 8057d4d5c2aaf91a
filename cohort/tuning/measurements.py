"""What a run measured, under flat names that are the same for all commands.

``test_accuracy`` is the mean over the students, ``student_1_test_accuracy`` that of one of them,
``ensemble_test_accuracy`` that of an ensemble by its name. Imports neither torch nor Ray.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from cohort.reporting.records import Record, read_metrics
from cohort.run.folder import RunFolder

State = Literal["new", "running", "finished", "failed"]
Lines = Mapping[int | str, Mapping[str, float]]
"""Measurements of each student, by number, and of each ensemble, by name."""

PHASES = ("test", "validation")
HEAD = ("time", "phase", "step", "epoch", "student")
"""What of a record is no measurement."""
PROGRESS = ("steps", "epochs", "wall_seconds", "images_per_second", "restarts")


def flat(records: Iterable[Record]) -> dict[str, float]:
    """The measurements on the test and validation splits at one step; of equals the later wins.

    What is nested, such as ``exits`` and ``members``, is left out. A number that was not finite
    (null in JSON) is NaN, and so is a mean over it.

    Example:
        >>> flat([
        ...     {"phase": "test", "step": 8, "epoch": 1.0, "student": 0, "accuracy": 0.5},
        ...     {"phase": "test", "step": 8, "epoch": 1.0, "student": 1, "accuracy": 0.75},
        ... ])
        {'test_accuracy': 0.625, 'student_0_test_accuracy': 0.5, 'student_1_test_accuracy': 0.75}
    """
    lines: dict[int | str, dict[str, float]] = {}
    for record in records:
        phase, who = record["phase"], record["student"]
        if phase in PHASES:
            measured = _numbers({key: record[key] for key in record if key not in HEAD})
            named = {f"{phase}_{key}": value for key, value in measured.items()}
            lines[who] = lines.get(who, {}) | named
    return _flattened(lines)


def history(run_dir: Path) -> list[dict[str, Any]]:
    """A dict for each step of evaluation, in order: ``step``, ``epoch`` and what ``flat`` gives.

    Of a run that is being written, the last one may lack measurements that are still to come.

    Raises:
        ConfigError: if metrics.jsonl is damaged.
    """
    path = RunFolder(run_dir).metrics
    by_step: dict[int, list[Record]] = {}
    for record in read_metrics(path) if path.exists() else ():
        if record["phase"] in PHASES:
            by_step.setdefault(record["step"], []).append(record)
    return [evaluation_row(records) for _, records in sorted(by_step.items())]


def evaluation_row(records: Sequence[Record]) -> dict[str, Any]:
    """The evaluation of one step from its records: ``step``, ``epoch`` and what ``flat`` gives."""
    return {"step": records[-1]["step"], "epoch": records[-1]["epoch"], **flat(records)}


def finals(run_dir: Path) -> dict[str, Any] | None:
    """What a run ended with, or None if it has no summary.json.

    ``status``, ``steps``, ``epochs``, ``wall_seconds``, ``images_per_second``, ``restarts`` and
    ``dropped`` (how many students), then the names of ``history`` with the values at the last step
    and all else that the summary has in numbers, such as ``train_entropy``, ``parameters``, ``dee``
    and, of the epoch that did best on the validation split, ``best_test_accuracy``.

    Raises:
        ConfigError: if summary.json or metrics.jsonl is damaged.
    """
    folder = RunFolder(run_dir)
    if not folder.summary.exists():
        return None
    summary = folder.read_summary()
    head = {key: summary.get(key) for key in ("status", *PROGRESS)}
    head["dropped"] = len(summary.get("dropped") or ())
    if summary["status"] != "finished":
        return head
    # The summary has no measurements on the validation split but the best ones.
    return head | _last_validation(run_dir) | _flattened(dict(_lines(summary)))


def state_of(run_dir: Path) -> State:
    """How far a run is; ``running`` has begun and not ended, also if nobody works on it any more.

    Raises:
        ConfigError: if summary.json is damaged.
    """
    folder = RunFolder(run_dir)
    if not folder.config.exists():
        return "new"
    status = folder.read_summary()["status"] if folder.summary.exists() else "interrupted"
    states: dict[str, State] = {"finished": "finished", "failed": "failed"}
    return states.get(status, "running")


def _last_validation(run_dir: Path) -> dict[str, float]:
    evaluations = history(run_dir)
    last = evaluations[-1] if evaluations else {}
    return {key: value for key, value in last.items() if "validation_" in key}


def _lines(summary: Mapping[str, Any]) -> Iterator[tuple[int | str, dict[str, float]]]:
    """Students, ensembles and whatever else has a line of measurements of its own."""
    for line in summary["students"]:
        yield line["student"], {k: v for k, v in _numbers(line).items() if k != "student"}
    for name, value in summary.items():
        if isinstance(value, Mapping):
            yield name, _numbers(value)
    if "teacher_diversity" in summary:
        yield "teacher", _numbers({"diversity": summary["teacher_diversity"]})


def _flattened(lines: Lines) -> dict[str, float]:
    students = {who: line for who, line in lines.items() if isinstance(who, int)}
    named = {who: line for who, line in lines.items() if not isinstance(who, int)}
    named |= {f"student_{number}": line for number, line in sorted(students.items())}
    several = {f"{who}_{key}": value for who, line in named.items() for key, value in line.items()}
    return _means(list(students.values())) | several


def _means(lines: list[Mapping[str, float]]) -> dict[str, float]:
    keys = dict.fromkeys(key for line in lines for key in line)
    values = {key: [line[key] for line in lines if key in line] for key in keys}
    return {key: math.fsum(found) / len(found) for key, found in values.items()}


def _numbers(line: Mapping[str, Any]) -> dict[str, float]:
    """Its numbers; null, as which JSON stores what is not finite, is NaN."""
    return {
        key: math.nan if value is None else value
        for key, value in line.items()
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    }
