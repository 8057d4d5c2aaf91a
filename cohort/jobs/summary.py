"""The end of a job: the student on disk, and summary.json written last."""

from collections.abc import Callable, Mapping
from typing import Any

from cohort.errors import RunError
from cohort.files import atomic_write
from cohort.jobs.job import STUDENT, Job
from cohort.jobs.recorder import Recorder
from cohort.jobs.worker import Best
from cohort.learning.learner import WEIGHTS_FILE
from cohort.learning.student_files import CARD_FILE, ModelCard
from cohort.run.start import images_per_second, prefixed, write_failure, write_reason
from cohort.version import versions

BEST_FOLDER = "best"
"""Below the student's own, which has the last weights."""


def conclude(recorder: Recorder, job: Job, train: Callable[[], None]) -> dict[str, Any]:
    """Train and write down how it ended; returns the summary.

    Raises RunError, after writing a summary with status ``failed``, if the run failed.
    """
    try:
        train()
        summary = _head(recorder, job, "finished" if recorder.final else "interrupted")
        if recorder.final:
            summary |= _ending(recorder, job)
        recorder.folder.write_summary(summary)
    except Exception as error:
        reason = write_reason(recorder.folder, error, getattr(error, "details", None))
        write_failure(recorder.folder, _head(recorder, job, "failed"), reason)
        raise RunError(reason) from error
    return summary


def _head(recorder: Recorder, job: Job, status: str) -> dict[str, Any]:
    return {
        "status": status,
        "steps": recorder.step,
        "epochs": job.plan.epoch(recorder.step),
        "seed": job.config.seed,
        "wall_seconds": recorder.wall_seconds,
        "images_per_second": images_per_second(recorder.folder, recorder.journal.images_per_second),
        "restarts": recorder.progress.restarts,
        "dropped": [],
        **({"teacher_restarts": recorder.progress.teacher_restarts} if job.actors_beside else {}),
        **job.named_constants(),
        "workers": job.config.workers,
        "students": [],
        "ensemble": None,
        "versions": versions(),
    }


def _ending(recorder: Recorder, job: Job) -> dict[str, Any]:
    """Write the student's final weights and its best; what the summary says of them."""
    final, folder = recorder.final, recorder.folder.student(STUDENT)
    assert final is not None
    card = ModelCard(
        network=job.network,
        dataset=job.dataset.name,
        classes=job.dataset.classes,
        image_shape=job.dataset.image_shape,
        mean=job.dataset.mean,
        std=job.dataset.std,
    ).to_json()
    atomic_write(folder / WEIGHTS_FILE, final.files[WEIGHTS_FILE])
    atomic_write(folder / CARD_FILE, card)
    if final.best is not None:
        atomic_write(folder / BEST_FOLDER / WEIGHTS_FILE, final.best.weights)
        atomic_write(folder / BEST_FOLDER / CARD_FILE, card)
    measured = dict(recorder.evaluation[STUDENT])
    details = job.student_details(measured, folder)
    line = {
        "student": STUDENT,
        "model": job.network,
        "parameters": job.parameters,
        **prefixed(measured),
        "train_entropy": final.train_entropy,
        "weights_sha256": final.weights_sha256,
        **job.compared(recorder.evaluation[STUDENT], final.concluded),
        **details,
    }
    best = {} if final.best is None else {"best": _best_line(final.best, job, final.concluded)}
    return {
        "students": [line],
        **job.endings(recorder.evaluation, final.concluded),
        **best,
    }


def _best_line(best: Best, job: Job, concluded: Mapping[str, Any]) -> dict[str, Any]:
    """The student as it did best on the validation split, beside the last one."""
    numbers = [
        {f"{split}_{name}": value for name, value in measured.items() if not _nested(value)}
        for split, measured in (("validation", best.validation), ("test", best.test))
    ]
    return {
        "step": best.step,
        "epoch": job.plan.epoch(best.step),
        **numbers[0],
        **numbers[1],
        **job.compared(best.test, concluded),
    }


def _nested(value: Any) -> bool:
    return isinstance(value, (dict, list))
