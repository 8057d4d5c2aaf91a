"""What noise on the weights does to the students of each point of a study."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from cohort.analysis.findings import SEED, sample
from cohort.analysis.weight_noise import weight_noise_curve
from cohort.run.finished import load_students
from cohort.tuning.report import NoiseFigure


def noise_rows(
    run_dir: Path, figure: NoiseFigure, *, trust_code: bool = False
) -> list[dict[str, Any]]:
    """A row per student of a finished run and strength of the noise, on its training split.

    ``student`` and the fields of ``NoisePoint``: means and standard deviations over the draws.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    students, dataset = load_students(run_dir, trust_code=trust_code)
    split = sample(dataset.train, figure.examples)
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
