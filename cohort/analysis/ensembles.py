"""A student's members, and deep ensembles of every size beside the students, measured.

Shapes: M members or teachers, N examples, C classes.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from cohort.data.dataset import ImageDataset
from cohort.errors import ConfigError
from cohort.learning.evaluation import combined, log_posteriors_over
from cohort.metrics.calibration import calibrated
from cohort.metrics.classification import evaluate_posterior, mean_posterior
from cohort.metrics.deep_ensemble import deep_ensemble_rows, equivalent_of
from cohort.metrics.diversity import diversity
from cohort.run.ending import prefixed
from cohort.run.finished import load_teachers, read_run_data
from cohort.run.storage import to_read


class Posteriors(NamedTuple):
    """Log-posteriors [N, C] of a student's exits or members, or of itself, on two splits."""

    test: list[Tensor]
    validation: list[Tensor] | None
    """None for data without a validation split."""

    @classmethod
    def of(cls, student: nn.Module, dataset: ImageDataset, device: torch.device) -> Self:
        """All posteriors of a student that is on ``device``."""
        validation = dataset.validation
        return cls(
            log_posteriors_over(student, dataset.test, device),
            None if validation is None else log_posteriors_over(student, validation, device),
        )

    def combined(self, student: nn.Module) -> "Posteriors":
        """The one posterior that the student answers with, on each split."""
        validation = self.validation
        return Posteriors(
            [combined(student, self.test)],
            None if validation is None else [combined(student, validation)],
        )


def measure_members(
    members: Sequence[Tensor],
    labels_N: Tensor,
    held_out: Sequence[Tensor] | None = None,
    held_out_labels: Tensor | None = None,
) -> dict[str, Any]:
    """Measurements of the members' mean posterior, calibrated on held-out examples if there are any.

    ``members`` and ``held_out`` are log-posteriors [N, C], one per member. If there are several, they
    have a ``diversity`` and, as lists in ``members``, measurements of their own.
    """
    mean_NC = mean_posterior(members)
    scores = evaluate_posterior(mean_NC, labels_N)
    measured: dict[str, Any] = dict(scores)
    if held_out is not None and held_out_labels is not None:
        measured |= calibrated(mean_posterior(held_out), held_out_labels, mean_NC, labels_N)
    if len(members) > 1:
        measured["diversity"] = diversity(torch.stack(list(members)))
        by_member = [evaluate_posterior(member_NC, labels_N) for member_NC in members]
        measured["members"] = {name: [row[name] for row in by_member] for name in scores}
    return measured


def member_lines(members: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """A line per member of summary.json, from lists by measurement."""
    count = len(next(iter(members.values())))
    return [
        {"member": j, **prefixed({name: values[j] for name, values in members.items()})}
        for j in range(count)
    ]


def measure_teachers(
    dataset: ImageDataset, test_MNC: Tensor, validation_MNC: Tensor | None = None
) -> dict[str, Any]:
    """Deep ensembles of the teachers, as in summary.json.

    ``teachers`` has a line per size of ensemble, DE-1 to DE-M, and ``teacher_diversity`` says how
    much the teachers differ, if there are several.
    """
    labels = torch.from_numpy(dataset.test.labels)
    validation = None
    if dataset.validation is not None and validation_MNC is not None:
        validation = validation_MNC, torch.from_numpy(dataset.validation.labels)
    rows = deep_ensemble_rows(test_MNC, labels, validation)
    lines = [{"size": row.pop("members"), **prefixed(row)} for row in rows]
    if len(test_MNC) < 2:
        return {"teachers": lines}
    return {"teachers": lines, "teacher_diversity": diversity(test_MNC)}


def measure_ensembles(
    run_dir: str | Path,
    dataset: ImageDataset,
    students: Sequence[Posteriors],
    device: torch.device,
    *,
    trust_code: bool = False,
) -> tuple[dict[str, Any], list[str]]:
    """``measure_teachers`` of a run, and notes on what could not be measured.

    Its teachers if it has some; else its students, one posterior each, if they learned alone; of
    students that taught each other there is nothing to measure.
    """
    folder = to_read(run_dir).opened()
    config = read_run_data(folder, None)
    teachers = students if config.teacher == "none" and len(students) > 1 else ()
    if config.teachers is not None:
        try:
            loaded = load_teachers(folder, trust_code=trust_code)
            networks = [network.to(device) for network in loaded]
        except ConfigError as error:  # the student can be measured without them
            return {}, [f"not measured against its teachers: {error}"]
        teachers = [Posteriors.of(n, dataset, device).combined(n) for n in networks]
    if not teachers:
        return {}, []
    test_MNC = torch.stack([posteriors.test[0] for posteriors in teachers])
    held_out = [posteriors.validation[0] for posteriors in teachers if posteriors.validation]
    return measure_teachers(dataset, test_MNC, torch.stack(held_out) if held_out else None), []


def add_equivalents(students: Sequence[dict[str, Any]], measured: Mapping[str, Any]) -> None:
    """Give each student's line its deep-ensemble equivalent, if temperatures are known.

    ``measured``: by ``measure_teachers``.
    """
    for student in students:
        cnll = student.get("test_cnll", math.nan)
        student |= equivalent_of(cnll, measured.get("teachers", ()))
