"""The end of a run: students on disk, and summary.json written last."""

from typing import Any

from cohort.errors import RunError
from cohort.files import atomic_write
from cohort.learning.learner import WEIGHTS_FILE
from cohort.learning.student_files import CARD_FILE, ModelCard
from cohort.models.registry import with_places
from cohort.run.checkpoint import Checkpoint
from cohort.run.start import (
    images_per_second,
    network_name,
    prefixed,
    write_failure,
    write_reason,
)
from cohort.runtime.config import CohortConfig, Network
from cohort.runtime.coordinator import Coordinator
from cohort.version import versions


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
            summary["ensemble"] = prefixed(coordinator.evaluation["ensemble"])
        coordinator.folder.write_summary(summary)
    except Exception as error:
        failed = _summary(coordinator, config, max(coordinator.saved_at, 0), "failed")
        reason = write_reason(coordinator.folder, error)
        write_failure(coordinator.folder, failed, reason)
        raise RunError(reason) from error
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
        "images_per_second": images_per_second(
            coordinator.folder, coordinator.journal.images_per_second
        ),
        "restarts": coordinator.progress.restarts,
        "dropped": coordinator.progress.dropped,
        "students": [],
        "ensemble": None,
        "versions": versions(),
    }


def _finish_students(
    coordinator: Coordinator, config: CohortConfig, step: int
) -> list[dict[str, Any]]:
    """Write every student's final weights; returns their lines of the summary."""
    if coordinator.evaluated_at != step:
        coordinator.evaluate(step)
    cohort = coordinator.cohort
    entropies, digests = cohort.train_entropies(), cohort.weights_sha256()
    cards = {student: _card(config.networks[student], coordinator) for student in cohort.students}
    for student, files in cohort.snapshots():
        folder = coordinator.folder.student(student)
        atomic_write(folder / WEIGHTS_FILE, files[WEIGHTS_FILE])
        atomic_write(folder / CARD_FILE, cards[student].to_json())
    return [
        {
            "student": student,
            "model": cards[student].network,
            "parameters": cohort.parameters[student],
            **prefixed(coordinator.evaluation[student]),
            "train_entropy": entropies[student],
            "weights_sha256": digests[student],
        }
        for student in cohort.students
    ]


def _card(network: Network, coordinator: Coordinator) -> ModelCard:
    dataset = coordinator.dataset
    placed = with_places(network, num_classes=dataset.num_classes, image_shape=dataset.image_shape)
    return ModelCard(
        network=network_name(placed),
        dataset=dataset.name,
        classes=dataset.classes,
        image_shape=dataset.image_shape,
        mean=dataset.mean,
        std=dataset.std,
    )
