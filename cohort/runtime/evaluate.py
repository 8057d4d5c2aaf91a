"""Measure the students of a finished run again, on this machine, without Ray."""

import dataclasses
from pathlib import Path
from typing import Any

import torch

from cohort.config_file import load_config
from cohort.data.registry import load_dataset
from cohort.errors import ConfigError
from cohort.learning.evaluation import log_posterior_over
from cohort.learning.student_files import load_student, read_card, weights_sha256
from cohort.metrics.classification import entropy, evaluate_posterior, mean_posterior
from cohort.run_folder import RunFolder
from cohort.runtime.config import CohortConfig


def evaluate_run(run_dir: str | Path, *, data_root: str | None = None) -> dict[str, Any]:
    """Students and ensemble of a run in the layout of summary.json.

    ``data_root`` says where the data lie now, if not where they lay. Raises ConfigError if the
    folder holds no trained students, or the data are not there.
    """
    folder = RunFolder.open(run_dir)
    config = load_config(folder.config, CohortConfig)
    if data_root is not None:
        config = dataclasses.replace(config, data_root=data_root)
    numbers = [k for k in range(config.k) if folder.student(k).is_dir()]
    if not numbers:
        raise ConfigError(
            f"{run_dir} holds no trained students: its run has not ended; --resume it first"
        )
    dataset = load_dataset(config, config.seed)
    labels_N = torch.from_numpy(dataset.test.labels)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows, posteriors = [], []
    for number in numbers:
        student = load_student(folder.student(number)).to(device)
        posteriors.append(log_posterior_over(student, dataset.test, device))
        train_entropy = entropy(log_posterior_over(student, dataset.train, device)).mean()
        rows.append(
            {
                "student": number,
                "model": read_card(folder.student(number)).network,
                "parameters": sum(p.numel() for p in student.parameters()),
                **_tested(posteriors[-1], labels_N),
                "train_entropy": float(train_entropy),
                "weights_sha256": weights_sha256(student),
            }
        )
    return {"students": rows, "ensemble": _tested(mean_posterior(posteriors), labels_N)}


def _tested(log_posterior_NC: torch.Tensor, labels_N: torch.Tensor) -> dict[str, float]:
    measured = evaluate_posterior(log_posterior_NC, labels_N)
    return {f"test_{name}": value for name, value in measured.items()}
