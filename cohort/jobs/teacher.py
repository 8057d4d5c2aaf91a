"""The frozen teacher of a two-step distillation: the student of a finished run."""

from dataclasses import dataclass
from pathlib import Path

from cohort.data.dataset import ImageDataset
from cohort.errors import ConfigError
from cohort.learning.learner import WEIGHTS_FILE
from cohort.learning.student_files import ModelCard, read_card, rebuild
from cohort.models.normalised import Normalised
from cohort.run_folder import RunFolder


@dataclass(frozen=True)
class TeacherFiles:
    """A trained student as it travels to the workers."""

    folder: Path
    card: ModelCard
    weights: bytes

    def build(self) -> Normalised:
        """The teacher, in evaluation mode, without gradients."""
        teacher = rebuild(self.card, self.weights, self.folder)
        return teacher.eval().requires_grad_(requires_grad=False)


def read_teacher(path: str, dataset: ImageDataset) -> TeacherFiles:
    """The student in a run's folder, or in ``RUN_DIR/students/K``.

    Raises ConfigError if the run has not finished, has several students, or learned something else.
    """
    folder = _student_folder(Path(path))
    card = read_card(folder)
    if len(card.classes) != dataset.num_classes or card.classes != dataset.classes:
        raise ConfigError(
            f"--teacher {path} knows the {len(card.classes)} classes of {card.dataset}, which are "
            f"not the {dataset.num_classes} of --dataset {dataset.name}; take a teacher of the same data"
        )
    if card.image_shape != dataset.image_shape:
        raise ConfigError(
            f"--teacher {path} takes images of shape {card.image_shape}, but --dataset "
            f"{dataset.name} has {dataset.image_shape}; take a teacher of the same size"
        )
    if card.network.startswith("<"):
        raise ConfigError(
            f"--teacher {path} has the network {card.network}, which cannot be imported on the "
            "workers; train it by an importable name, package.module:function"
        )
    try:
        return TeacherFiles(folder, card, (folder / WEIGHTS_FILE).read_bytes())
    except OSError as error:
        raise ConfigError(f"{folder / WEIGHTS_FILE} cannot be read: {error.strerror}") from error


def _student_folder(path: Path) -> Path:
    if path.parent.name == "students":
        return path
    folder = RunFolder(path)
    if not folder.config.is_file():
        raise ConfigError(
            f"--teacher {path} is not the folder of a run; name that of a finished one, or "
            "RUN_DIR/students/K"
        )
    status = folder.read_summary().get("status")
    if status != "finished":
        raise ConfigError(
            f"--teacher {path} is a run that is {status}, not finished; --resume it first"
        )
    students = sorted(path.glob("students/*"))
    if not students:
        raise ConfigError(f"--teacher {path} holds no trained student; take another run")
    if len(students) > 1:
        names = ", ".join(str(student) for student in students)
        raise ConfigError(f"--teacher {path} has {len(students)} students; name one of {names}")
    return students[0]
