"""The end of a run: students on disk, and summary.json written last."""

import platform
import traceback
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from cohort.errors import RunError
from cohort.imports import one_line, written_name
from cohort.learning.checkpoint import Checkpoint
from cohort.learning.learner import WEIGHTS_FILE
from cohort.learning.student_files import CARD_FILE, ModelCard
from cohort.run_folder import atomic_write
from cohort.runtime.config import CohortConfig, Network
from cohort.runtime.coordinator import Coordinator

PACKAGES = ("cohort", "ray", "torch", "torchvision", "numpy")


def conclude(
    coordinator: Coordinator, config: CohortConfig, checkpoint: Checkpoint | None
) -> dict[str, Any]:
    """Train from the start or a checkpoint, and write down how it ended; returns the summary.

    Raises RunError, after writing a summary with status ``failed``, if the run failed.
    """
    try:
        step = coordinator.train(coordinator.begin(checkpoint))
        finished = step == coordinator.plan.total_steps
        summary = _summary(coordinator, config, step, "finished" if finished else "interrupted")
        if finished:
            summary["students"] = _finish_students(coordinator, config, step)
            summary["ensemble"] = _prefixed(coordinator.evaluation["ensemble"])
    except Exception as error:
        failed = _summary(coordinator, config, max(coordinator.saved_at, 0), "failed")
        reason = _reason(coordinator, error)
        coordinator.folder.write_summary({**failed, "error": reason})
        raise RunError(reason) from error
    coordinator.folder.write_summary(summary)
    return summary


def _summary(
    coordinator: Coordinator, config: CohortConfig, step: int, status: str
) -> dict[str, Any]:
    return {
        "status": status,
        "steps": step,
        "epochs": coordinator.plan.epoch(step),
        "seed": config.seed,
        "wall_seconds": coordinator.wall_seconds,
        "images_per_second": coordinator.journal.images_per_second,
        "restarts": coordinator.progress.restarts,
        "dropped": coordinator.progress.dropped,
        "students": [],
        "ensemble": None,
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
    }


def _finish_students(
    coordinator: Coordinator, config: CohortConfig, step: int
) -> list[dict[str, Any]]:
    """Write every student's final weights; returns their lines of the summary."""
    if coordinator.evaluated_at != step:
        coordinator.evaluate(step)
    cohort = coordinator.cohort
    entropies, digests = cohort.train_entropies(), cohort.weights_sha256()
    for student, files in cohort.snapshots():
        folder = coordinator.folder.student(student)
        card = _card(config.networks[student], coordinator)
        atomic_write(folder / WEIGHTS_FILE, files[WEIGHTS_FILE])
        atomic_write(folder / CARD_FILE, card.to_json())
    return [
        {
            "student": student,
            "model": network_name(config.networks[student]),
            "parameters": cohort.parameters[student],
            **_prefixed(coordinator.evaluation[student]),
            "train_entropy": entropies[student],
            "weights_sha256": digests[student],
        }
        for student in cohort.students
    ]


def network_name(network: Network) -> str:
    """How a student's network is written in records and files."""
    return network if isinstance(network, str) else written_name(network)


def _card(network: Network, coordinator: Coordinator) -> ModelCard:
    dataset = coordinator.dataset
    return ModelCard(
        network=network_name(network),
        dataset=dataset.name,
        classes=dataset.classes,
        image_shape=dataset.image_shape,
        mean=dataset.mean,
        std=dataset.std,
    )


def _prefixed(measurements: Mapping[str, float]) -> dict[str, float]:
    return {f"test_{name}": value for name, value in measurements.items()}


def _reason(coordinator: Coordinator, error: Exception) -> str:
    if isinstance(error, RunError):
        return str(error)
    file = coordinator.folder.path / "error.log"
    atomic_write(file, "".join(traceback.format_exception(error)))
    return f"{one_line(error)} (details in {file})"
