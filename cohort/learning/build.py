"""From a plan and a network to a learner at step 0."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cohort.data.augment import Shard
from cohort.data.dataset import ImageDataset
from cohort.data.source import BatchSource
from cohort.learning.beside_teacher import AllExits
from cohort.learning.learner import Learner
from cohort.learning.optimizers import build_optimizer
from cohort.learning.plan import TrainingPlan
from cohort.learning.schedule import learning_rate
from cohort.models.early_exit import MultiExitStudent
from cohort.models.normalised import Normalised
from cohort.models.registry import build_student
from cohort.models.spec import Network
from cohort.objectives.mutual import MutualLearning
from cohort.objectives.objective import Objective
from cohort.objectives.self_distillation import MutualSelfDistillation, SelfDistillation


def build_learner(
    network: Network,
    plan: TrainingPlan,
    dataset: ImageDataset,
    objective: MutualLearning,
    *,
    student: int,
    device: torch.device,
) -> Learner:
    """Student number ``student`` of a cohort at step 0: a pure function of the arguments.

    The deepest exit of a student with exits is its posterior; the others learn from it by
    self-distillation, as its paper weighs them.
    """
    module = student_for(dataset, network, seed=plan.seed, student=student).to(device)
    if not isinstance(module, MultiExitStudent):
        return learner_of(module, plan, dataset, objective, student=student)
    return learner_of(
        module,
        plan,
        dataset,
        MutualSelfDistillation(mutual=objective, exits=SelfDistillation()),
        student=student,
        forward=AllExits(module),
    )


def student_for(
    dataset: ImageDataset,
    network: Network,
    *,
    seed: int,
    student: int,
    flag: str = "--students",
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


def learner_of(
    network: nn.Module,
    plan: TrainingPlan,
    dataset: ImageDataset,
    objective: Objective,
    *,
    student: int,
    forward: Callable[[Any], Any] | None = None,
    inputs: Callable[[int, Tensor], Any] | None = None,
    adapters: nn.Module | None = None,
    shard: Shard = (0, 1),
    average: Callable[[Tensor], Tensor] | None = None,
) -> Learner:
    """The learner of a network as it is, where it is; see ``Learner`` for the arguments.

    ``shard`` is the part (rank, size) of each batch that this process learns from.
    """
    device = next(network.parameters()).device
    trained = network if adapters is None else nn.ModuleList([network, adapters])
    return Learner(
        network,
        optimizer=build_optimizer(
            trained,
            plan.optimizer,
            lr=plan.lr,
            weight_decay=plan.weight_decay,
            decay_on=plan.decay_on,
        ),
        learning_rate=learning_rate(
            plan.lr, plan.lr_schedule, plan.schedule_steps, plan.warmup_steps
        ),
        objective=objective,
        source=BatchSource(
            dataset.train,
            batch_size=plan.batch_size,
            seed=plan.seed,
            augmentation=dataset.augmentation,
            device=device,
            shard=shard,
        ),
        seed=plan.seed,
        student=student,
        forward=forward,
        inputs=inputs,
        adapters=adapters,
        precision=plan.precision,
        log_every=plan.log_every,
        average=average,
    )
