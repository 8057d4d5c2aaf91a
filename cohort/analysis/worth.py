"""Students beside deep ensembles of each size: what a distilled one is worth in teachers.

Shapes: M members, N examples, C classes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from cohort.analysis.members import of_teachers
from cohort.data.dataset import ImageDataset
from cohort.errors import ConfigError
from cohort.learning.evaluation import combined, log_posteriors_over
from cohort.metrics.deep_ensemble import deep_ensemble_equivalent
from cohort.run.finished import load_teachers, read_run_data
from cohort.run.folder import RunFolder


class Outputs(NamedTuple):
    """Log-posteriors [N, C] of one student's exits or members, or of itself, on two splits."""

    test: list[Tensor]
    validation: list[Tensor] | None

    @classmethod
    def of(cls, student: nn.Module, dataset: ImageDataset, device: torch.device) -> Self:
        """What a student that is on ``device`` says."""
        validation = dataset.validation
        return cls(
            log_posteriors_over(student, dataset.test, device),
            None if validation is None else log_posteriors_over(student, validation, device),
        )

    def combined(self, student: nn.Module) -> "Outputs":
        """The student's own."""
        validation = self.validation
        return Outputs(
            [combined(student, self.test)],
            None if validation is None else [combined(student, validation)],
        )


def beside_ensembles(
    run_dir: str | Path, dataset: ImageDataset, own: Sequence[Outputs], device: torch.device
) -> tuple[dict[str, Any], list[str]]:
    """DE-1 to DE-M, in the layout of summary.json, and notes on what could not be measured.

    Of a run whose students did not teach each other (``own``), or of the teachers of a run that has
    some; of other runs nothing.
    """
    folder = RunFolder.open(run_dir)
    config = read_run_data(folder, None)
    if config.teachers is None:
        alone = config.teacher == "none" and len(own) > 1
        return (_of_ensembles(dataset, own), []) if alone else ({}, [])
    try:
        teachers = load_teachers(folder)
    except ConfigError as error:  # the student can be measured without them
        return {}, [f"not measured against its teachers: {error}"]
    theirs = [
        Outputs.of(teacher.to(device), dataset, device).combined(teacher) for teacher in teachers
    ]
    return _of_ensembles(dataset, theirs), []


def compare(rows: Sequence[dict[str, Any]], of_ensembles: Mapping[str, Any]) -> None:
    """Say of each student to how many of the teachers it is equivalent, if temperatures are known."""
    lines = of_ensembles.get("teachers", ())
    curve = [line["test_cnll"] for line in lines if "test_cnll" in line]
    for row in rows:
        if curve:
            row["dee"] = deep_ensemble_equivalent(row["test_cnll"], curve)


def _of_ensembles(dataset: ImageDataset, members: Sequence[Outputs]) -> dict[str, Any]:
    test_MNC = torch.stack([outputs.test[0] for outputs in members])
    held_out = [outputs.validation[0] for outputs in members if outputs.validation is not None]
    return of_teachers(dataset, test_MNC, torch.stack(held_out) if held_out else None)
