"""What is measured of a student with members, and of the ensemble that it learned from.

Shapes: M members or teachers, N examples, C classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cohort.data.dataset import ImageDataset
from cohort.metrics.calibration import calibrated
from cohort.metrics.classification import evaluate_posterior, mean_posterior
from cohort.metrics.deep_ensemble import deep_ensemble_rows
from cohort.metrics.diversity import diversity
from cohort.run.ending import prefixed


def measure_members(
    outputs: Sequence[Tensor],
    labels_N: Tensor,
    held_out: Sequence[Tensor] | None = None,
    held_out_labels: Tensor | None = None,
) -> dict[str, Any]:
    """Measurements of the members' mean posterior, calibrated on held-out examples if there are any.

    ``outputs`` are the members' log-posteriors [N, C], or one. Several have a ``diversity`` and
    measurements each, as lists in ``members``.
    """
    mean_NC = mean_posterior(outputs)
    scores = evaluate_posterior(mean_NC, labels_N)
    measured: dict[str, Any] = dict(scores)
    if held_out is not None and held_out_labels is not None:
        measured |= calibrated(mean_posterior(held_out), held_out_labels, mean_NC, labels_N)
    if len(outputs) > 1:
        measured["diversity"] = diversity(torch.stack(list(outputs)))
        by_member = [evaluate_posterior(output_NC, labels_N) for output_NC in outputs]
        measured["members"] = {name: [row[name] for row in by_member] for name in scores}
    return measured


def member_lines(members: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """A line per member of summary.json, from lists by measurement."""
    count = len(next(iter(members.values())))
    return [
        {"member": j, **prefixed({name: values[j] for name, values in members.items()})}
        for j in range(count)
    ]


def of_teachers(
    dataset: ImageDataset, test_MNC: Tensor, validation_MNC: Tensor | None = None
) -> dict[str, Any]:
    """``teachers``: a line per size of ensemble, DE-1 to DE-M; and how much the teachers differ."""
    labels = torch.from_numpy(dataset.test.labels)
    validation = None
    if dataset.validation is not None and validation_MNC is not None:
        validation = validation_MNC, torch.from_numpy(dataset.validation.labels)
    rows = deep_ensemble_rows(test_MNC, labels, validation)
    lines = [{"size": row.pop("members"), **prefixed(row)} for row in rows]
    if len(test_MNC) < 2:
        return {"teachers": lines}
    return {"teachers": lines, "teacher_diversity": diversity(test_MNC)}
