"""A student of a cohort, or of a job, at step 0."""

from typing import TypedDict

import torch

from cohort.data.dataset import ImageDataset
from cohort.data.source import Source
from cohort.learning.beside_heads import TrainedWithHeads, with_heads
from cohort.learning.beside_teacher import AllExits
from cohort.learning.learner import Learner
from cohort.learning.plan import TrainingPlan
from cohort.models.early_exit import MultiExitStudent
from cohort.models.normalised import Normalised
from cohort.models.registry import build_student
from cohort.models.spec import Network
from cohort.objectives.auxiliary import WithAuxiliary
from cohort.objectives.mutual import MutualLearning
from cohort.objectives.self_distillation import MutualSelfDistillation


class Common(TypedDict):
    """What every learner is given by name."""

    student: int
    source: Source | None


def build_learner(
    network: Network,
    plan: TrainingPlan,
    dataset: ImageDataset,
    objective: MutualLearning,
    *,
    student: int,
    device: torch.device,
    source: Source | None = None,
) -> Learner:
    """Student number ``student`` of a cohort at step 0: a pure function of the arguments.

    The deepest exit of a student with exits is its posterior; the others learn from it by
    self-distillation, as its paper weighs them. Auxiliary heads learn from the labels. With a
    ``source`` it shares the batches of others.
    """
    module = student_for(dataset, network, seed=plan.seed, student=student).to(device)
    common: Common = {"student": student, "source": source}
    if isinstance(module, MultiExitStudent):
        beside = MutualSelfDistillation(mutual=objective)
        return Learner(module, plan, dataset, beside, forward=AllExits(module), **common)
    trained = heads_for(dataset, network, module, seed=plan.seed, student=student)
    if trained is None:
        return Learner(module, plan, dataset, objective, **common)
    return Learner(
        module,
        plan,
        dataset,
        WithAuxiliary(main=objective, weight=trained.weight),
        forward=trained.to(device),
        adapters=trained.heads,
        **common,
    )


def heads_for(
    dataset: ImageDataset, network: Network, module: Normalised, *, seed: int, student: int
) -> TrainedWithHeads | None:
    """``with_heads`` for the classes and images of a data set."""
    return with_heads(
        module,
        network,
        num_classes=dataset.num_classes,
        image_shape=dataset.image_shape,
        seed=seed,
        number=student,
    )


def student_for(
    dataset: ImageDataset, network: Network, *, seed: int, student: int, flag: str = "--students"
) -> Normalised:
    """``build_student`` for the classes, images and normalisation of a data set."""
    return build_student(
        network,
        num_classes=dataset.num_classes,
        image_shape=dataset.image_shape,
        mean=dataset.mean,
        std=dataset.std,
        seed=seed,
        student=student,
        flag=flag,
    )
