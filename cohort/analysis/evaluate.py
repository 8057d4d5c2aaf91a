"""Measure the students of a finished run again, on this machine, without Ray."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cohort.analysis.cost import ExitCost, ImageShape, exit_costs
from cohort.analysis.ensembles import (
    Posteriors,
    add_equivalents,
    measure_ensembles,
    measure_members,
    member_lines,
)
from cohort.analysis.exits import ExitsReport, exit_lines, report_exits
from cohort.analysis.latency import Latency
from cohort.analysis.people import evaluate_people
from cohort.analysis.ranking import check_file
from cohort.config import Distance
from cohort.data.dataset import ImageDataset, Search
from cohort.errors import ConfigError
from cohort.learning.evaluation import log_posterior_over
from cohort.learning.precision import in_precision
from cohort.learning.student_files import weights_sha256
from cohort.metrics.classification import entropy, evaluate_posterior, mean_posterior
from cohort.models.early_exit import MultiExitStudent
from cohort.models.members import MembersStudent
from cohort.models.modules import count_parameters
from cohort.run.data_card import changes
from cohort.run.ending import prefixed
from cohort.run.finished import load_students, read_run_data
from cohort.run.storage import to_read


@dataclass(frozen=True, kw_only=True)
class ExitsEvaluation:
    """How good the exits of one student are, and what they cost."""

    report: ExitsReport
    costs: Sequence[ExitCost]
    places: tuple[str, ...]
    """After which module each exit but the deepest stands."""
    latencies: Sequence[Latency] | None = None


@dataclass(frozen=True, kw_only=True)
class RunEvaluation:
    """A run measured again."""

    summary: dict[str, Any]
    """Students and ensemble, in the layout of summary.json."""
    exits: Mapping[int, ExitsEvaluation]
    """By student, of those that have some."""
    networks: Mapping[int, nn.Module]
    """The students, by number."""
    image_shape: ImageShape
    notes: Sequence[str] = ()
    """What a reader of the measurements should know, such as what could not be measured, and why."""


@in_precision("fp32")
def evaluate_run(
    run_dir: str | Path,
    *,
    data_root: str | None = None,
    weights: Sequence[float] | None = None,
    timed: bool = False,
    distance: Distance | None = None,
    ranking: str | None = None,
    trust_code: bool = False,
) -> RunEvaluation:
    """Students and ensemble of a run of any kind, in fp32; every exit of students that have some.

    Args:
        run_dir: the run's folder.
        data_root: where the data lie now, if not where they lay.
        weights: of the exits in an ensemble of one's own; see ``report_exits``.
        timed: somebody will time the students, which is refused of those who find people again.
        distance: between features, where people are found again; by default the run's own.
        ranking: file of a picture of whom they find, if there is to be one.
        trust_code: run the code that files of the run, and of its teachers', name.

    Raises ConfigError if the folder holds no trained students, or the data are not there, or for an
    argument that would do nothing, or for code that is not trusted.
    """
    file = None if ranking is None else check_file(ranking)
    students, dataset = load_students(run_dir, data_root, trust_code=trust_code)
    networks = {number: module for number, _, module in students}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if isinstance(dataset.test, Search):
        _refuse_flags_of_classes(run_dir, weights, timed)
        return _evaluate_search(run_dir, students, dataset, device, distance, file)
    _refuse_flags_of_people(run_dir, distance, ranking)
    if not any(isinstance(module, MultiExitStudent) for module in networks.values()):
        _refuse_flags_of_exits(run_dir, weights)
    labels_N = torch.from_numpy(dataset.test.labels)
    rows, answers, exits = [], [], {}
    for number, network, module in students:
        student = module.to(device)
        posteriors = Posteriors.of(student, dataset, device)
        answers.append(posteriors.combined(student))
        row = _row(number, network, student, posteriors, dataset)
        if isinstance(student, MultiExitStudent):
            exits[number] = found = ExitsEvaluation(
                report=report_exits(posteriors.test, labels_N, weights),
                costs=exit_costs(student, dataset.image_shape),
                places=student.network.places,
            )
            row["exits"] = exit_lines(found.report.exits, found.costs, found.places)
        rows.append(row)
    if len(rows) == 1 and exits:  # its exits are the members
        (only,) = exits.values()
        ensemble = only.report.ensemble
    else:
        mean_NC = mean_posterior([answer.test[0] for answer in answers])
        ensemble = evaluate_posterior(mean_NC, labels_N)
    of_teachers, notes = measure_ensembles(run_dir, dataset, answers, device, trust_code=trust_code)
    add_equivalents(rows, of_teachers)
    summary = {"students": rows, "ensemble": prefixed(ensemble), **of_teachers}
    return RunEvaluation(
        summary=summary,
        exits=exits,
        networks=networks,
        image_shape=dataset.image_shape,
        notes=(*_notes_on_data(run_dir, dataset), *notes),
    )


def _evaluate_search(
    run_dir: str | Path,
    students: Sequence[tuple[int, str, nn.Module]],
    dataset: ImageDataset,
    device: torch.device,
    distance: Distance | None,
    file: Path | None,
) -> RunEvaluation:
    """Of students who find people again; a picture of whom, if there is a file for it."""
    used = distance or read_run_data(to_read(run_dir), None).distance
    told = [f"distances between features are {used}"]
    told += [] if file is None else [f"{file} shows whom the students find together"]
    return RunEvaluation(
        summary=evaluate_people(students, dataset, used, device, file),
        exits={},
        networks={number: module for number, _, module in students},
        image_shape=dataset.image_shape,
        notes=(*told, *_notes_on_data(run_dir, dataset)),
    )


def _notes_on_data(run_dir: str | Path, dataset: ImageDataset) -> tuple[str, ...]:
    """What was said of the files, and whether there are as many images as the run had."""
    return dataset.notes + changes(to_read(run_dir), dataset)


def _refuse_flags_of_exits(run_dir: str | Path, weights: Sequence[float] | None) -> None:
    if weights is not None:
        raise ConfigError(
            f"--ensemble-weights was given, but no student of {run_dir} has exits; leave it out"
        )


def _refuse_flags_of_classes(
    run_dir: str | Path, weights: Sequence[float] | None, timed: bool
) -> None:
    flags = {"--ensemble-weights": weights is not None, "--latency": timed}
    if given := [flag for flag, is_given in flags.items() if is_given]:
        raise ConfigError(
            f"{given[0]} was given, but the students of {run_dir} find people again, by the features of "
            "the whole network; leave it out"
        )


def _refuse_flags_of_people(
    run_dir: str | Path, distance: Distance | None, ranking: str | None
) -> None:
    flags = {"--distance": distance is not None, "--ranking": ranking is not None}
    if given := [flag for flag, is_given in flags.items() if is_given]:
        raise ConfigError(
            f"{given[0]} was given, but the students of {run_dir} tell classes apart, and nobody is "
            "looked for by features; leave it out"
        )


def _row(
    number: int, network: str, student: nn.Module, posteriors: Posteriors, dataset: ImageDataset
) -> dict[str, Any]:
    device = next(student.parameters()).device
    if not isinstance(student, MembersStudent):
        posteriors = posteriors.combined(student)
    held_out = None if dataset.validation is None else torch.from_numpy(dataset.validation.labels)
    labels_N = torch.from_numpy(dataset.test.labels)
    measured = measure_members(posteriors.test, labels_N, posteriors.validation, held_out)
    members = measured.pop("members", None)
    return {
        "student": number,
        "model": network,
        "parameters": count_parameters(student),
        **prefixed(measured),
        "train_entropy": float(entropy(log_posterior_over(student, dataset.train, device)).mean()),
        "weights_sha256": weights_sha256(student),
        **({"members": member_lines(members)} if members else {}),
    }
