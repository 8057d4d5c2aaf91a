"""Several runs measured again, and their networks timed against each other."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn

from cohort.analysis.cost import ImageShape
from cohort.analysis.evaluate import RunEvaluation, evaluate_run
from cohort.analysis.latency import CALLS, Latency, measure_latencies
from cohort.analysis.options import distinct_names
from cohort.config import Distance
from cohort.learning.precision import in_precision
from cohort.models.early_exit import MultiExitStudent


class Timed(NamedTuple):
    """What is timed: a student, or one exit of it."""

    run: str
    student: int
    exit: int | None


def evaluate_runs(
    run_dirs: Sequence[str],
    *,
    data_root: str | None = None,
    weights: Sequence[float] | None = None,
    latency_rounds: int = 0,
    distance: Distance | None = None,
    ranking: str | None = None,
    trust_code: bool = False,
) -> dict[str, RunEvaluation]:
    """Runs of any kinds by their names, each as ``evaluate_run`` does it.

    ``latency_rounds``: how often each student and each exit is timed, all of all runs in turn; 0 for
    not at all. Raises ConfigError as ``evaluate_run`` does, and for a run that is given twice.
    """
    evaluations = {
        name: evaluate_run(
            run_dir,
            data_root=data_root,
            weights=weights,
            timed=latency_rounds > 0,
            distance=distance,
            ranking=ranking,
            trust_code=trust_code,
        )
        for name, run_dir in zip(distinct_names(run_dirs), run_dirs, strict=True)
    }
    return with_latencies(evaluations, latency_rounds) if latency_rounds else evaluations


@in_precision("fp32")
def with_latencies(
    evaluations: Mapping[str, RunEvaluation], rounds: int
) -> dict[str, RunEvaluation]:
    """The evaluations with the time that each student and each of its exits takes for one image."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    latencies = measure_latencies(dict(_to_time(evaluations)), rounds, device)
    return {
        name: _timed(name, each, latencies, rounds, device) for name, each in evaluations.items()
    }


def _to_time(
    evaluations: Mapping[str, RunEvaluation],
) -> Iterator[tuple[Timed, tuple[nn.Module, ImageShape]]]:
    for name, evaluation in evaluations.items():
        for number, student in evaluation.networks.items():
            if not isinstance(student, MultiExitStudent):
                yield Timed(name, number, None), (student, evaluation.image_shape)
                continue
            for exit in range(1, student.network.num_exits + 1):
                alone = student.exit_alone(exit)
                yield Timed(name, number, exit), (alone, evaluation.image_shape)


def _timed(
    name: str,
    evaluation: RunEvaluation,
    latencies: Mapping[Timed, Latency],
    rounds: int,
    device: torch.device,
) -> RunEvaluation:
    """The evaluation of one run with its times; a student with exits takes what the deepest takes."""
    exits, lines = dict(evaluation.exits), []
    for line in evaluation.summary["students"]:
        number = line["student"]
        found = [each for timed, each in latencies.items() if timed[:2] == (name, number)]
        if number in exits:
            exits[number] = dataclasses.replace(exits[number], latencies=found)
            of_exits = [
                {**exit, **latency.line()}
                for exit, latency in zip(line["exits"], found, strict=True)
            ]
            line = {**line, "exits": of_exits}
        lines.append({**line, **found[-1].line()})
    where = (
        "a GPU" if device.type == "cuda" else f"the CPU (torch threads: {torch.get_num_threads()})"
    )
    note = (
        f"times are of one image on {where}: medians and quartiles of {rounds} rounds of {CALLS} calls, "
        "in which all networks of all runs take turns in random order"
    )
    return dataclasses.replace(
        evaluation,
        summary={**evaluation.summary, "students": lines},
        exits=exits,
        notes=(*evaluation.notes, note),
    )
