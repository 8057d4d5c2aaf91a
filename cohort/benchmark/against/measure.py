"""The same students, batches and objective, here and in public packages, which take turns."""

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import NamedTuple

import numpy as np
import torch

from cohort.analysis.turns import seconds_of, time_rounds
from cohort.benchmark.against.config import AUTOCAST, IMAGES, OURS, PACKAGES, AgainstConfig, Package
from cohort.benchmark.against.packages import BUILD, TakeSteps, check_installed, quietly
from cohort.benchmark.device import gpus_for
from cohort.benchmark.exchange.measure import time_steps
from cohort.data.dataset import Augmentation, ImageDataset, Split
from cohort.errors import RunError
from cohort.learning.build import student_for
from cohort.learning.learner import training_source
from cohort.learning.optimizers import build_optimizer
from cohort.learning.plan import TrainingPlan, plan_training
from cohort.learning.process import own_process
from cohort.runtime.actors import RayCohort
from cohort.runtime.assembly import assemble, session
from cohort.runtime.train import prepare

ENDING_SECONDS = 5.0
"""After which a process that still takes steps is ended by force."""
Player = Callable[[range], float]
"""Takes some steps and says in how many seconds."""


class Rival(NamedTuple):
    """A package, in one of the ways in which it is measured."""

    package: Package
    autocast: bool

    @property
    def name(self) -> str:
        """What its row is called."""
        return self.package + (AUTOCAST if self.autocast else "")


@dataclass(frozen=True)
class Measurements:
    """Everything that the benchmark measured."""

    round_seconds: dict[str, list[float]]
    """By who took the steps, ``OURS`` first."""
    threads: int
    """Torch threads of our hosts together, and of each package."""
    gpus: int
    notice: str


def rivals(config: AgainstConfig) -> list[Rival]:
    """Who is compared: the packages as they are, in fp32, and if ours has bf16 under autocast too."""
    ways = (False, True) if config.precision == "bf16" else (False,)
    return [Rival(package, autocast) for package in PACKAGES for autocast in ways]


def measure(config: AgainstConfig) -> Measurements:
    """Run the benchmark.

    Raises ConfigError if a package is missing or a cohort cannot be built as configured.
    """
    for package in PACKAGES:
        check_installed(package, config.packages)
    gpus = gpus_for(config.gpus, most=config.k)
    cohort = config.cohort(gpus)
    with session(cohort), assemble(prepare(cohort, pictures(config))) as ours:
        hosts = len(ours.cohort.hosts) if isinstance(ours.cohort, RayCohort) else 1
        assert ours.threads is not None  # the cohort is not balanced
        threads = hosts * ours.threads
        with in_processes(config, threads, gpus) as theirs:
            players: dict[str, Player] = {OURS: partial(time_steps, ours.cohort.advance), **theirs}
            seconds = time_rounds(
                players, rounds=config.rounds, steps=config.steps, seed=config.seed
            )
    return Measurements(seconds, threads, gpus, ours.notice or "")


def pictures(config: AgainstConfig) -> ImageDataset:
    """Random images, cropped and mirrored as CIFAR's are."""
    random = np.random.default_rng(config.seed)
    size = config.image_size
    images = random.integers(0, 256, (IMAGES, 3, size, size), dtype=np.uint8)
    split = Split(images, random.integers(0, config.classes, IMAGES))
    return ImageDataset(
        name="random",
        train=split,
        test=split.part(slice(0, config.classes)),
        classes=tuple(map(str, range(config.classes))),
        mean=(0.5, 0.5, 0.5),
        std=(0.3, 0.3, 0.3),
        augmentation=Augmentation(padding=size // 8, padding_mode="reflect", flip=True),
    )


@contextmanager
def in_processes(config: AgainstConfig, threads: int, gpus: int) -> Iterator[Mapping[str, Player]]:
    """Each rival in a process of its own, which waits for its turns and ends with the block."""
    spawn = multiprocessing.get_context("spawn")
    started, players = [], {}
    try:
        for rival in rivals(config):
            here, there = spawn.Pipe()
            arguments = (there, rival, config, threads, gpus)
            process = spawn.Process(target=serve, args=arguments, daemon=True)
            process.start()
            started.append((process, here))
            there.close()
            players[rival.name] = partial(_ask, here, rival)
        yield players
    finally:
        for process, link in started:
            link.close()  # which ends a process that waits for its turn
            process.join(ENDING_SECONDS)
            process.terminate()


def serve(link: Connection, rival: Rival, config: AgainstConfig, threads: int, gpus: int) -> None:
    """Take the steps that are asked for, until this process is ended; answers seconds, or what failed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the other end's to answer
    own_process(threads, config.precision)
    device = torch.device("cuda" if gpus else "cpu")
    try:
        take = quietly(build(config, rival.package, device), autocast=rival.autocast, device=device)
        while True:
            link.send(seconds_of(partial(take, link.recv()), device))
    except EOFError:
        return
    except Exception:
        link.send(traceback.format_exc())


def build(config: AgainstConfig, package: Package, device: torch.device) -> TakeSteps:
    """The students that our cohort has at step 0, in the hands of a package."""
    check_installed(package, config.packages)
    dataset = pictures(config)
    plan = plan_training(config.cohort(0), len(dataset.train))
    networks = [_student(config, dataset, plan, k).to(device) for k in range(config.k)]
    optimizers = [build_optimizer(network, plan) for network in networks]
    return BUILD[package](networks, optimizers, training_source(dataset, plan, device))


def _student(
    config: AgainstConfig, dataset: ImageDataset, plan: TrainingPlan, student: int
) -> torch.nn.Module:
    network = student_for(dataset, config.students, seed=plan.seed, student=student)
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    return network.to(memory_format=layout)


def _ask(link: Connection, rival: Rival, steps: range) -> float:
    """Seconds in which a rival takes some steps. Raises RunError, with its last line, if it fails."""
    link.send(steps)
    answer = link.recv()
    if isinstance(answer, str):
        raise RunError(f"{rival.name} failed: {answer.strip().splitlines()[-1]}")
    seconds: float = answer
    return seconds
