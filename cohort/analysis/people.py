"""The students of a run that finds people again, measured once more, and a picture of what they find.

Shapes: N pictures, D features.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cohort.analysis.ranking import draw_ranking
from cohort.config import Distance
from cohort.data.dataset import ImageDataset, Search
from cohort.learning.evaluation import answers_over, combined, log_posterior_over
from cohort.learning.measuring import Measuring, together
from cohort.learning.student_files import weights_sha256
from cohort.metrics.classification import entropy
from cohort.models.modules import count_parameters
from cohort.run.ending import prefixed


def evaluate_people(
    students: Sequence[tuple[int, str, nn.Module]],
    dataset: ImageDataset,
    distance: Distance,
    device: torch.device,
    ranking: Path | None = None,
) -> dict[str, Any]:
    """Students and their ensemble, all features side by side, in the layout of summary.json.

    ``ranking`` is the file of a picture of what the ensemble finds, if there is to be one. Raises
    RunError if features are not finite.
    """
    search = dataset.test
    assert isinstance(search, Search)
    measuring = Measuring(distance, device)
    rows, features = [], []
    for number, network, module in students:
        student = module.to(device)
        features.append(combined(student, answers_over(student, search, device)))
        log_posterior_NC = log_posterior_over(student, dataset.train, device)
        row = {
            "student": number,
            "model": network,
            "parameters": count_parameters(student),
            **prefixed(measuring.of(search, features[-1])),
            "train_entropy": float(entropy(log_posterior_NC).mean()),
            "weights_sha256": weights_sha256(student),
        }
        rows.append(row)
    of_all_ND: Tensor = together(search, features)
    if ranking is not None:
        draw_ranking(search, of_all_ND, distance, device, ranking)
    return {"students": rows, "ensemble": prefixed(measuring.of(search, of_all_ND))}
