"""What a step hands a student that learns from an ensemble, and what the student makes of it.

Shapes: M members or teachers, B batch, C channels of an image or classes, H x W pixels.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from cohort.data.augment import Shard
from cohort.learning.inputs import Drawn
from cohort.learning.teachers import Teachers
from cohort.models.members import MembersStudent
from cohort.objectives.ods import BesideEnsemble
from cohort.objectives.perturbation import InputPerturbation


class Taught(NamedTuple):
    """One batch, and what the teachers say about it."""

    images_BCHW: Tensor
    """In [0, 1]; the labels judge these."""
    perturbed_BCHW: Tensor | None
    """What the teachers judged; None: the images themselves."""
    teacher_MBC: Tensor | None
    """Their log-posteriors at T = 1; None: there are only labels."""


class Teaching(ABC):
    """Where the perturbed images and the teachers' posteriors of a step come from; a learner's ``Inputs``."""

    @abstractmethod
    def draw(self, step: int, images_BCHW: Tensor, /) -> Drawn:
        """What differs from step to step beside the images, float [B, C, H, W] in [0, 1]."""

    @abstractmethod
    def of(self, images_BCHW: Tensor, drawn: Drawn, /) -> Taught:
        """The images of the step of which ``drawn`` is, with what is taught about them."""

    def __call__(self, step: int, images_BCHW: Tensor, /) -> Taught:
        """The images of ``step`` with what is taught about them."""
        return self.of(images_BCHW, self.draw(step, images_BCHW))


class LabelsOnly(Teaching):
    """A Teaching without teachers."""

    def draw(self, step: int, images_BCHW: Tensor) -> Drawn:
        """Nothing."""
        return Drawn()

    def of(self, images_BCHW: Tensor, drawn: Drawn) -> Taught:
        """The images alone."""
        return Taught(images_BCHW, None, None)


labels_only = LabelsOnly()


@dataclass(frozen=True, kw_only=True)
class LocalTeaching(Teaching):
    """A Teaching by teachers in the student's process: a function of seed, step and images alone.

    All teachers see the same perturbed images, which one of them, drawn anew at each step, makes.
    """

    teachers: Teachers
    perturbation: InputPerturbation
    classes: int
    """Of the teachers' posteriors."""
    seed: int
    """Of the run."""
    shard: Shard = (0, 1)
    """The part of the global batch that the images are."""

    def draw(self, step: int, images_BCHW: Tensor) -> Drawn:
        """The number of the teacher that perturbs, which makes a computation of its own, and its draws."""
        perturbation, seed = self.perturbation, self.seed
        if perturbation.kind == "none":
            return Drawn()
        random = perturbation.draw(
            images_BCHW, self.classes, seed=seed, step=step, shard=self.shard
        )
        if perturbation.kind == "gaussian":
            return Drawn(None, (random,))
        return Drawn(perturbation.chosen_teacher(seed, step, len(self.teachers)), (random,))

    def of(self, images_BCHW: Tensor, drawn: Drawn) -> Taught:
        """The images perturbed, and every teacher's posterior there."""
        if self.perturbation.kind == "none":
            return Taught(images_BCHW, None, self.teachers.log_posteriors(images_BCHW))
        chosen = drawn.way if isinstance(drawn.way, int) else 0  # noise is the same by any teacher
        perturbed_BCHW = self.perturbation.by(
            images_BCHW, self.teachers.one(chosen), *drawn.tensors
        )
        return Taught(images_BCHW, perturbed_BCHW, self.teachers.log_posteriors(perturbed_BCHW))


class TaughtStudent(nn.Module):
    """A student on a batch and on its perturbed twin, beside its teachers' posteriors.

    In training, batch normalisation sees the two in two passes, clean first: never one batch of
    both. A module of its own, because a data-parallel wrapper only sees what goes through
    ``forward``.
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def forward(self, taught: Taught) -> BesideEnsemble:
        """Logits of all members on both; one pass and one tensor if nothing was perturbed."""
        clean_MBC = member_logits(self.student, taught.images_BCHW)
        perturbed_MBC = clean_MBC
        if taught.perturbed_BCHW is not None:
            perturbed_MBC = member_logits(self.student, taught.perturbed_BCHW)
        return BesideEnsemble(clean_MBC, perturbed_MBC, taught.teacher_MBC)


def member_logits(student: nn.Module, x_BCHW: Tensor) -> Tensor:
    """Logits of every member, [M, B, C]; a plain student is its only one."""
    if isinstance(student, MembersStudent):
        return student.of_members(x_BCHW)
    logits_BC: Tensor = student(x_BCHW)
    return logits_BC[None]
