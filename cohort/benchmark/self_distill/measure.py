"""What a step of self-distillation costs beside the methods it is compared with, interleaved.

Speeds of two separate runs differ by more than some methods do. So all learners live in one
process and take turns, and a method's time is compared with the plain network's in the same round.
"""

import time
from collections.abc import Mapping
from pathlib import Path

import torch

from cohort.benchmark.self_distill.config import METHODS, StepBenchConfig
from cohort.benchmark.turns import device_for, threads, turns, wait
from cohort.errors import ConfigError
from cohort.jobs.self_distill.config import WITH_TEACHER, Method
from cohort.jobs.self_distill.job import SelfDistillJob, prepare
from cohort.jobs.teacher import TeacherFiles
from cohort.learning.build import student_for
from cohort.learning.data_parallel import Workers
from cohort.learning.learner import Learner, weights_bytes
from cohort.learning.student_files import ModelCard
from cohort.models.cut import default_places

Seconds = dict[Method, list[float]]
"""How long each method took for its steps, round by round."""


def measure_steps(config: StepBenchConfig) -> Seconds:
    """Run the benchmark. Raises ConfigError if a learner cannot be built as configured."""
    device = device_for(config.gpus)
    with threads(config.threads):
        return time_rounds(config, build_learners(config, device))


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


def time_rounds(config: StepBenchConfig, learners: Mapping[Method, Learner]) -> Seconds:
    """Seconds of every round but the first, which warms up; each begins with another method."""
    seconds: Seconds = {method: [] for method in learners}
    for turn, method in turns(list(learners), 1 + config.rounds):
        took = time_steps(learners[method], turn * config.steps, config.steps)
        if turn > 0:
            seconds[method].append(took)
    return seconds


def time_steps(learner: Learner, start: int, steps: int) -> float:
    """Seconds for so many steps, their batches and records included."""
    wait(learner.device)
    begin = time.perf_counter()
    for step in range(start, start + steps):
        learner.predict(step)
        learner.learn(step)
    wait(learner.device)
    took = time.perf_counter() - begin
    learner.windows.drain()
    return took
