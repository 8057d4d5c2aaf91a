"""What noise on the weights does to the students of each point of a study."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from cohort.analysis.flat_minima import NoisePoint, mean_and_std, weight_noise_curve
from cohort.analysis.options import AnalyseOptions
from cohort.analysis.outcome import SEED, some
from cohort.run.finished import load_students
from cohort.tuning.report import NoiseFigure


def noise_rows(run_dir: Path, figure: NoiseFigure) -> list[dict[str, Any]]:
    """A row per student of a finished run and strength of the noise, on its training split.

    ``student`` and the fields of ``NoisePoint``: means and standard deviations over the draws.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    students, dataset = load_students(run_dir)
    examples = figure.examples or len(dataset.train)
    split = some(dataset.train, AnalyseOptions(runs=(), output="", examples=examples))
    return [
        {"student": number, **asdict(point)}
        for number, _, student in students
        for point in weight_noise_curve(
            student.to(device),
            split,
            figure.sigmas,
            figure.draws,
            SEED,
            device,
            relative=figure.relative,
        )
    ]


def mean_curve(rows: Sequence[dict[str, Any]]) -> list[NoisePoint]:
    """Mean and standard deviation over seeds and students of their means over the draws."""
    points = []
    for sigma in dict.fromkeys(row["sigma"] for row in rows):
        here = [row for row in rows if row["sigma"] == sigma]
        accuracy, loss = (
            mean_and_std([row[key] for row in here]) for key in ("accuracy_mean", "loss_mean")
        )
        points.append(
            NoisePoint(
                sigma=sigma,
                accuracy_mean=accuracy[0],
                accuracy_std=accuracy[1],
                loss_mean=loss[0],
                loss_std=loss[1],
            )
        )
    return points
