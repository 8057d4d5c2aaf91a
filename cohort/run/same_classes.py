"""A run that goes on counts its classes as when it began, whatever order the data have now."""

from typing import Any

from cohort.data.class_names import in_order_of
from cohort.errors import ConfigError
from cohort.learning.student_files import read_card
from cohort.run.command import Command
from cohort.run.data_card import read_data_card
from cohort.run.finished import student_folders
from cohort.run.folder import RunFolder
from cohort.run.ready import Run


def with_its_classes(command: Command[Any], run: Run, folder: RunFolder) -> Run:
    """The run, on labels in the order in which it began to learn them.

    Raises ConfigError if the data have other classes now, or its teacher counts them otherwise.
    """
    classes = classes_of(folder)
    if classes is None or classes == run.dataset.classes:
        return run
    dataset = in_order_of(run.dataset, classes, f"--resume {folder.given}: the run")
    run = command.prepare(run.config, dataset)
    if run.dataset.classes != classes:  # a teacher's
        raise ConfigError(
            f"--resume {folder.given}: the teacher has the run's classes in another order, by which the "
            "student cannot go on to learn; name the teacher that the run began with"
        )
    return run


def classes_of(folder: RunFolder) -> tuple[str, ...] | None:
    """Names of a run's classes in the order of their labels; None if it did not write them down."""
    card = read_data_card(folder)
    if card is not None:
        return card.classes
    try:  # of a version without cards: as its students have them, if it ended
        students = student_folders(folder)
    except ConfigError:
        return None
    return read_card(next(iter(students.values()))).classes
