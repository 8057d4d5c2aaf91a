"""Measure the students of a finished run again, on this machine, without Ray."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cohort.analysis.cost import ExitCost, Latency, exit_costs, exit_latencies
from cohort.analysis.exits import ExitsReport, exit_lines, report_exits
from cohort.analysis.members import measure_members, member_lines
from cohort.analysis.worth import Outputs, beside_ensembles, compare
from cohort.data.dataset import ImageDataset
from cohort.errors import ConfigError
from cohort.learning.evaluation import log_posterior_over
from cohort.learning.student_files import weights_sha256
from cohort.metrics.classification import entropy, evaluate_posterior, mean_posterior
from cohort.models.early_exit import MultiExitStudent
from cohort.models.members import MembersStudent
from cohort.run.ending import prefixed
from cohort.run.finished import load_students


@dataclass(frozen=True, kw_only=True)
class ExitsEvaluation:
    """What the exits of one student are worth, and what they cost."""

    report: ExitsReport
    costs: Sequence[ExitCost]
    places: tuple[str, ...]
    latencies: Sequence[Latency] | None


@dataclass(frozen=True, kw_only=True)
class RunEvaluation:
    """A run measured again."""

    summary: dict[str, Any]
    """Students and ensemble, in the layout of summary.json."""
    exits: dict[int, ExitsEvaluation]
    """By student, of those that have some."""
    notes: Sequence[str] = ()
    """What could not be measured, and why."""


def evaluate_run(
    run_dir: str | Path,
    *,
    data_root: str | None = None,
    weights: Sequence[float] | None = None,
    latency_rounds: int = 0,
) -> RunEvaluation:
    """Students and ensemble of a run of any kind; every exit of students that have some.

    Args:
        run_dir: the run's folder.
        data_root: where the data lie now, if not where they lay.
        weights: of the exits in an ensemble of one's own; see ``evaluate_exits``.
        latency_rounds: how often each exit is timed, on one image at a time; 0 for not at all.

    Raises ConfigError if the folder holds no trained students, or the data are not there.
    """
    students, dataset = load_students(run_dir, data_root)
    if not any(isinstance(module, MultiExitStudent) for _, _, module in students):
        _refuse_flags_of_exits(run_dir, weights, latency_rounds)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    labels_N = torch.from_numpy(dataset.test.labels)
    rows, asked, exits = [], [], {}
    for number, network, module in students:
        student = module.to(device)
        outputs = Outputs.of(student, dataset, device)
        asked.append(outputs.combined(student))
        row = _row(number, network, student, outputs, dataset)
        if isinstance(student, MultiExitStudent):
            report = report_exits(outputs.test, labels_N, weights)
            costs = exit_costs(student, dataset.image_shape)
            places = student.network.places
            row["exits"] = exit_lines(report.exits, costs, places)
            rounds = latency_rounds
            times = exit_latencies(student, dataset.image_shape, 1, rounds) if rounds else None
            exits[number] = ExitsEvaluation(
                report=report, costs=costs, places=places, latencies=times
            )
        rows.append(row)
    summary: dict[str, Any] = {"students": rows, "ensemble": None}
    if len(rows) == 1 and exits:  # its exits are the members
        (only,) = exits.values()
        summary["ensemble"] = prefixed(only.report.ensemble)
    else:
        of_test = mean_posterior([outputs.test[0] for outputs in asked])
        summary["ensemble"] = prefixed(evaluate_posterior(of_test, labels_N))
    of_ensembles, notes = beside_ensembles(run_dir, dataset, asked, device)
    summary |= of_ensembles
    compare(rows, of_ensembles)
    return RunEvaluation(summary=summary, exits=exits, notes=notes)


def _refuse_flags_of_exits(
    run_dir: str | Path, weights: Sequence[float] | None, latency_rounds: int
) -> None:
    flags = {"--ensemble-weights": weights is not None, "--latency": latency_rounds > 0}
    if given := [flag for flag, is_given in flags.items() if is_given]:
        raise ConfigError(f"{given[0]} was given, but no student of {run_dir} has exits")


def _row(
    number: int, network: str, student: nn.Module, outputs: Outputs, dataset: ImageDataset
) -> dict[str, Any]:
    device = next(student.parameters()).device
    if not isinstance(student, MembersStudent):
        outputs = outputs.combined(student)
    held_out = None if dataset.validation is None else torch.from_numpy(dataset.validation.labels)
    labels_N = torch.from_numpy(dataset.test.labels)
    measured = measure_members(outputs.test, labels_N, outputs.validation, held_out)
    members = measured.pop("members", None)
    return {
        "student": number,
        "model": network,
        "parameters": sum(p.numel() for p in student.parameters()),
        **prefixed(measured),
        "train_entropy": float(entropy(log_posterior_over(student, dataset.train, device)).mean()),
        "weights_sha256": weights_sha256(student),
        **({"members": member_lines(members)} if members else {}),
    }
