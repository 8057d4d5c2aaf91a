"""From a config to a learner: the student, what is run beside it in training, and its objective."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from cohort.data.dataset import ImageDataset
from cohort.data.registry import load_dataset
from cohort.errors import ConfigError
from cohort.jobs.config import WITH_EXITS, Method, SelfDistillConfig
from cohort.jobs.hints import beside_teacher
from cohort.jobs.teacher import TeacherFiles, read_teacher
from cohort.learning.beside_teacher import AllExits
from cohort.learning.build import learner_of
from cohort.learning.data_parallel import Workers
from cohort.learning.learner import Learner
from cohort.learning.lone_image import check_lone_image
from cohort.learning.plan import TrainingPlan, plan_training
from cohort.models.early_exit import MultiExitStudent
from cohort.models.normalised import Normalised
from cohort.models.registry import build_student
from cohort.objectives.classic import ClassicDistillation, Hint
from cohort.objectives.mutual import MutualLearning
from cohort.objectives.objective import Objective
from cohort.objectives.self_distillation import DEEP_SUPERVISION, SelfDistillation
from cohort.reporting.tensorboard import summary_writer
from cohort.runs import network_name
from cohort.with_exits import WithExits

HINTS: Mapping[Method, Hint] = {"kd": "none", "fitnet": "maps", "at": "attention"}


@dataclass(frozen=True)
class Ingredients:
    """All that a worker needs; travels to it."""

    config: SelfDistillConfig
    dataset: ImageDataset
    plan: TrainingPlan
    teacher: TeacherFiles | None
    network: str
    """How the student's network is written down."""
    parameters: int


def prepare(config: SelfDistillConfig, teacher: TeacherFiles | None = None) -> Ingredients:
    """Read the data and the teacher, try out the network. ``config`` is resolved.

    ``teacher`` stands in for the run that ``config.teacher`` names, which is then not read.
    Raises ConfigError for whatever does not fit.
    """
    if config.tensorboard:
        summary_writer()
    dataset = load_dataset(config, config.seed)
    plan = plan_training(config, len(dataset.train))
    _check_shares(config, plan, dataset)
    if config.teacher is not None and teacher is None:
        teacher = read_teacher(config.teacher, dataset)
    parts = Ingredients(config, dataset, plan, teacher, "", 0)
    student = _student(parts)
    module = _training_module(parts, student)  # refuses what cannot be trained together
    if plan.batch_size == (1 if config.batch_norm == "synchronised" else max(config.workers, 1)):
        check_lone_image(module, dataset.image_shape, module, plan.batch_size)
    parameters = sum(p.numel() for p in student.parameters())
    return replace(parts, network=_written_name(config, student), parameters=parameters)


def build_worker_learner(parts: Ingredients, workers: Workers, device: torch.device) -> Learner:
    """The learner of one worker at step 0: a pure function of the ingredients."""
    student = _student(parts)
    module = _training_module(parts, student).to(device)  # and with it the student
    return learner_of(
        student,
        parts.plan,
        parts.dataset,
        _objective(parts.config),
        student=0,
        forward=workers.parallel(module),
        adapters=getattr(module, "regressors", None),
        shard=(workers.rank, workers.size),
        average=workers.average,
    )


def _written_name(config: SelfDistillConfig, student: Normalised) -> str:
    """With its places, so that it is rebuilt exactly whatever the network's own will be."""
    assert config.model is not None
    if isinstance(student, MultiExitStudent):
        return WithExits(config.model, student.network.places).written_name
    return network_name(config.model)


def _objective(config: SelfDistillConfig) -> Objective:
    if config.method == "none":
        return MutualLearning(teacher="none")
    if config.method == "dsn":
        return DEEP_SUPERVISION
    assert config.alpha is not None, "the config is not resolved"
    assert config.temperature is not None
    if config.method == "byot":
        assert config.hint_weight is not None
        return SelfDistillation(
            alpha=config.alpha, hint_weight=config.hint_weight, temperature=config.temperature
        )
    return ClassicDistillation(
        alpha=config.alpha,
        temperature=config.temperature,
        hint=HINTS[config.method],
        hint_weight=config.hint_weight or 0.0,
    )


def _student(parts: Ingredients) -> Normalised:
    config, dataset = parts.config, parts.dataset
    assert config.model is not None, "the config is not resolved"
    with_exits = config.method in WITH_EXITS
    return build_student(
        WithExits(config.model, config.places) if with_exits else config.model,
        num_classes=dataset.num_classes,
        image_shape=dataset.image_shape,
        mean=dataset.mean,
        std=dataset.std,
        seed=config.seed,
        student=0,
        flag="--model",
    )


def _training_module(parts: Ingredients, student: Normalised) -> nn.Module:
    """What is run on a training batch: the student, all its exits, or a teacher beside it."""
    if isinstance(student, MultiExitStudent):
        return AllExits(student)
    if parts.teacher is None:
        return student
    teacher = parts.teacher.build()
    return beside_teacher(parts.config, student, teacher, parts.dataset.image_shape)


def _check_shares(config: SelfDistillConfig, plan: TrainingPlan, dataset: ImageDataset) -> None:
    if plan.batch_size % max(config.workers, 1):
        raise ConfigError(
            f"--batch-size is {plan.batch_size}, which --workers {config.workers} cannot share "
            "equally; make it a multiple"
        )
    if len(dataset.test) < config.workers:
        raise ConfigError(
            f"--workers is {config.workers}, but the test split has {len(dataset.test)} images; "
            "take fewer workers"
        )
