"""The end of a job: the student on disk, and summary.json written last."""

from collections.abc import Callable
from typing import Any

from cohort.analysis.cost import exit_costs
from cohort.analysis.exits import exit_lines
from cohort.errors import RunError
from cohort.jobs.build import Ingredients
from cohort.jobs.recorder import Recorder
from cohort.learning.learner import WEIGHTS_FILE
from cohort.learning.student_files import CARD_FILE, ModelCard, load_student, own_factory
from cohort.models.early_exit import MultiExitStudent
from cohort.run_folder import atomic_write
from cohort.runs import prefixed, versions, write_reason


def conclude(recorder: Recorder, parts: Ingredients, train: Callable[[], None]) -> dict[str, Any]:
    """Train and write down how it ended; returns the summary.

    Raises RunError, after writing a summary with status ``failed``, if the run failed.
    """
    try:
        train()
        summary = _head(recorder, parts, "finished" if recorder.final else "interrupted")
        if recorder.final:
            summary["students"] = [_finish_student(recorder, parts)]
            summary["ensemble"] = prefixed(recorder.evaluation["ensemble"])
            if "ensemble_deepest" in recorder.evaluation:
                summary["ensemble_deepest"] = prefixed(recorder.evaluation["ensemble_deepest"])
    except Exception as error:
        reason = write_reason(recorder.folder, error, getattr(error, "details", None))
        failed = _head(recorder, parts, "failed")
        recorder.folder.write_summary({**failed, "error": reason})
        raise RunError(reason) from error
    recorder.folder.write_summary(summary)
    return summary


def _head(recorder: Recorder, parts: Ingredients, status: str) -> dict[str, Any]:
    return {
        "status": status,
        "steps": recorder.step,
        "epochs": parts.plan.epoch(recorder.step),
        "seed": parts.config.seed,
        "wall_seconds": recorder.wall_seconds,
        "images_per_second": recorder.journal.images_per_second,
        "restarts": recorder.progress.restarts,
        "dropped": [],
        "method": parts.config.method,
        "workers": parts.config.workers,
        "students": [],
        "ensemble": None,
        "versions": versions(),
    }


def _finish_student(recorder: Recorder, parts: Ingredients) -> dict[str, Any]:
    """Write the student's final weights; returns its line of the summary."""
    assert recorder.final is not None
    folder, dataset = recorder.folder.student(0), parts.dataset
    card = ModelCard(
        network=parts.network,
        dataset=dataset.name,
        classes=dataset.classes,
        image_shape=dataset.image_shape,
        mean=dataset.mean,
        std=dataset.std,
    )
    atomic_write(folder / WEIGHTS_FILE, recorder.final.files[WEIGHTS_FILE])
    atomic_write(folder / CARD_FILE, card.to_json())
    measured = dict(recorder.evaluation[0])
    exits = measured.pop("exits", None)
    line = {
        "student": 0,
        "model": parts.network,
        "parameters": parts.parameters,
        **prefixed(measured),
        "train_entropy": recorder.final.train_entropy,
        "weights_sha256": recorder.final.weights_sha256,
    }
    if exits is not None:
        student = load_student(folder, own_factory(parts.config.model))
        assert isinstance(student, MultiExitStudent)
        by_exit = [
            {name: values[index] for name, values in exits.items()}
            for index in range(student.network.num_exits)
        ]
        costs = exit_costs(student, dataset.image_shape)
        line["exits"] = exit_lines(by_exit, costs, student.network.places)
    return line
