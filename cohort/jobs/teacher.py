"""The frozen teacher of a two-step distillation: the student of a finished run."""

from dataclasses import dataclass
from pathlib import Path

from cohort.data.class_names import in_order_of
from cohort.data.dataset import ImageDataset
from cohort.errors import ConfigError, brief
from cohort.files import is_uri
from cohort.learning.learner import WEIGHTS_FILE
from cohort.learning.student_files import ModelCard, read_card, rebuild, refuse_network
from cohort.models.normalised import Normalised
from cohort.run.finished import students_of


@dataclass(frozen=True)
class TeacherFiles:
    """A trained student as it travels to the workers."""

    folder: Path
    card: ModelCard
    weights: bytes
    trust_code: bool = False
    """Whether its network may be code that its card names."""

    def build(self) -> Normalised:
        """The teacher, in evaluation mode, without gradients."""
        teacher = rebuild(self.card, self.weights, self.folder, trust_code=self.trust_code)
        return teacher.eval().requires_grad_(requires_grad=False)


def read_teacher(path: str, dataset: ImageDataset, *, trust_code: bool = False) -> TeacherFiles:
    """The student in a run's folder, or in ``RUN_DIR/students/K``.

    Raises ConfigError if the run has not finished, has several students, or learned something else, or
    if its network is code that is not trusted.
    """
    folder = _student_folder(path)
    return read_student(folder, dataset, f"--teacher {path}", trust_code=trust_code)


def read_student(
    folder: Path, dataset: ImageDataset, given: str, *, trust_code: bool = False
) -> TeacherFiles:
    """The trained student in a folder, checked to know the same classes, of images as large.

    They may be in another order: the data are to be learned in the teacher's. ``given`` is what the
    user named it by. Raises ConfigError if it learned something else, or is code that is not trusted.
    """
    card = read_card(folder)
    in_order_of(dataset, card.classes, given, card.dataset)
    if card.image_shape != dataset.image_shape:
        raise ConfigError(
            f"{given} takes images of shape {card.image_shape}, but --dataset {dataset.name} has "
            f"{dataset.image_shape}; take a teacher of the same size"
        )
    if card.network.startswith("<"):
        raise ConfigError(
            f"{given} has the network {brief(card.network)}, which cannot be imported on the workers; train "
            "it by an importable name, package.module:function"
        )
    refuse_network(card, folder, trust_code)
    try:
        return TeacherFiles(folder, card, (folder / WEIGHTS_FILE).read_bytes(), trust_code)
    except OSError as error:
        raise ConfigError(f"{folder / WEIGHTS_FILE} cannot be read: {error.strerror}") from error


def _student_folder(path: str) -> Path:
    if Path(path).parent.name == "students" and not is_uri(path):
        return Path(path)
    students = list(students_of(path, "--teacher", ", or RUN_DIR/students/K").values())
    if len(students) > 1:
        names = ", ".join(str(student) for student in students)
        raise ConfigError(f"--teacher {path} has {len(students)} students; name one of {names}")
    return students[0]
