"""What a step of self-distillation costs beside the methods it is compared with, in turns."""

from functools import partial
from pathlib import Path

import torch

from cohort.analysis.turns import seconds_of, time_rounds
from cohort.benchmark.device import device_for
from cohort.benchmark.self_distill.config import METHODS, StepBenchConfig
from cohort.errors import ConfigError
from cohort.jobs.self_distill.config import WITH_TEACHER, Method
from cohort.jobs.self_distill.job import SelfDistillJob
from cohort.jobs.self_distill.run import prepare_job as prepare
from cohort.jobs.teacher import TeacherFiles
from cohort.learning.build import student_for
from cohort.learning.data_parallel import Workers
from cohort.learning.learner import Learner, weights_bytes
from cohort.learning.student_files import ModelCard
from cohort.models.cut import default_places

Seconds = dict[Method, list[float]]
"""Of each method, how long its steps took, round by round."""


def measure_steps(config: StepBenchConfig) -> Seconds:
    """Run the benchmark. Raises ConfigError if a learner cannot be built as configured."""
    with device_for(config) as device:
        learners = build_learners(config, device)
        players = {method: partial(time_steps, learner) for method, learner in learners.items()}
        return time_rounds(players, rounds=config.rounds, steps=config.steps, seed=config.seed)


def build_learners(config: StepBenchConfig, device: torch.device) -> dict[Method, Learner]:
    """A learner of every method, as a job without workers builds it."""
    plain = prepare(config.job(METHODS[0]))
    teacher = untrained_teacher(plain)
    jobs = {
        method: prepare(config.job(method), teacher if method in WITH_TEACHER else None)
        for method in METHODS[1:]
    }
    return {
        method: job.build_learner(Workers(), device)
        for method, job in ({METHODS[0]: plain} | jobs).items()
    }


def untrained_teacher(plain: SelfDistillJob) -> TeacherFiles:
    """A teacher with the student's network: what it knows changes no time.

    Raises ConfigError if the network does not say where its sections end, which exits and hints need.
    """
    dataset = plain.dataset
    student = student_for(dataset, plain.network, seed=plain.config.seed, student=1, flag="--model")
    if default_places(student.network) is None:
        raise ConfigError(
            f"--model is {plain.network!r}, which does not say where its sections end; give it an "
            "attribute exits_after with the names of modules, or take another network"
        )
    card = ModelCard(
        network=plain.network,
        dataset=dataset.name,
        classes=dataset.classes,
        image_shape=dataset.image_shape,
        mean=dataset.mean,
        std=dataset.std,
    )
    return TeacherFiles(Path("teacher"), card, weights_bytes(student))


def time_steps(learner: Learner, numbers: range) -> float:
    """Seconds for these steps, their batches and records included."""

    def work() -> None:
        for step in numbers:
            learner.predict(step)
            learner.learn(step)

    seconds = seconds_of(work, learner.device)
    learner.windows.drain()
    return seconds
