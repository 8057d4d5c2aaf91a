"""Factories for ``--students tests.support.networks:NAME``: like resnet8, but each with a fault.

A fault that must happen exactly once is armed by a file, named in an environment variable, and
consumes it: the test can prove that it fired, and a restarted student is healthy.
"""

import os
import signal
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from cohort.models.registry import build_network

FUSE = "COHORT_TEST_FUSE"
OF_TEACHERS = "-of-teachers"
"""Behind the name of the fuse that kills a teacher."""
OF_SURVIVORS = "-of-survivors"
"""Behind the name of the fuse that holds back a survivor."""
RECOVERING = "-recovering"
"""Behind the name of the file that lets it go on."""
DEATH_STEP = 12
PAUSE = 0.02
"""Seconds of a slow forward: time enough to stop a process where a test wants it."""


class Wrapped(nn.Module):
    """A resnet8 that does something at each training forward, counted from 1."""

    def __init__(self, num_classes: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.network = build_network("resnet8", num_classes=num_classes, image_shape=image_shape)
        self.forwards = 0

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        if self.training:
            self.forwards += 1
            logits = self.act(logits)
        return logits

    def act(self, logits: Tensor) -> Tensor:
        return logits


class Slow(Wrapped):
    def act(self, logits: Tensor) -> Tensor:
        time.sleep(PAUSE)
        return logits


class Interrupted(Wrapped):
    """Burns a fuse to interrupt its own process, as Ctrl-C does."""

    def act(self, logits: Tensor) -> Tensor:
        if self.forwards == DEATH_STEP and consume_fuse():
            os.kill(os.getpid(), signal.SIGINT)
        return logits


class Dying(Wrapped):
    """Dies, after it has looked whether its process is set up as every run in fp32 has it."""

    def act(self, logits: Tensor) -> Tensor:
        assert torch.backends.cudnn.conv.fp32_precision == "ieee"  # type: ignore[attr-defined]
        if self.forwards == DEATH_STEP and consume_fuse():
            os.kill(os.getpid(), signal.SIGKILL)
        return logits


class Late(Wrapped):
    """Burns a fuse to hold back what it shows, when a peer dies, until the recovery has begun."""

    def act(self, logits: Tensor) -> Tensor:
        if self.forwards == DEATH_STEP and consume_fuse(OF_SURVIVORS):
            while not Path(os.environ[FUSE] + RECOVERING).exists():
                time.sleep(0.01)
        return logits


class AlwaysDying(Wrapped):
    def act(self, logits: Tensor) -> Tensor:
        if self.forwards == DEATH_STEP:
            os.kill(os.getpid(), signal.SIGKILL)
        return logits


class Diverging(Wrapped):
    def act(self, logits: Tensor) -> Tensor:
        return logits * torch.nan if self.forwards == DEATH_STEP else logits


class Raising(Wrapped):
    def act(self, logits: Tensor) -> Tensor:
        if self.forwards == DEATH_STEP:
            raise ArithmeticError("the network of this test raises here")
        return logits


class DyingTeacher(Wrapped):
    """Dies at a forward in evaluation, of a teacher's or not; those of training count nothing."""

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += not self.training
        if not self.training and self.forwards == DEATH_STEP and consume_fuse(OF_TEACHERS):
            os.kill(os.getpid(), signal.SIGKILL)
        logits: Tensor = self.network(x)
        return logits


def consume_fuse(whose: str = "") -> bool:
    """Whether the fuse was still there; only one process can burn it."""
    try:
        Path(os.environ[FUSE] + whose).unlink()
    except (FileNotFoundError, KeyError):
        return False
    return True


def slow(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    return Slow(num_classes, image_shape)


def interrupted(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    return Interrupted(num_classes, image_shape)


class Pause(nn.Module):
    """A layer that takes its time in training, and nothing else."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            time.sleep(PAUSE)
        return x


def slow_stages(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    """A slow network that can be cut after its stages."""
    network = build_network("resnet8", num_classes=num_classes, image_shape=image_shape)
    stages = network.get_submodule("stages")
    assert isinstance(stages, nn.Sequential)
    stages[0].append(Pause())
    return network


class Mortal(nn.Module):
    """A layer that dies at its twelfth forward in training, in the last worker, while there is a fuse."""

    def __init__(self) -> None:
        super().__init__()
        self.forwards = 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += self.training
        now = self.training and self.forwards == DEATH_STEP and is_last()
        if now and Path(os.environ.get(FUSE, "")).is_file():
            os.kill(os.getpid(), signal.SIGKILL)
        return x


def is_last() -> bool:
    """Whether this process is the last worker of a job, or the only one."""
    return not dist.is_initialized() or dist.get_rank() == dist.get_world_size() - 1


def mortal_stages(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    """A mortal network that can be cut after its stages."""
    network = build_network("resnet8", num_classes=num_classes, image_shape=image_shape)
    stages = network.get_submodule("stages")
    assert isinstance(stages, nn.Sequential)
    stages[0].append(Mortal())
    return network


def dying(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    return Dying(num_classes, image_shape)


def late(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    return Late(num_classes, image_shape)


def dying_teacher(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    return DyingTeacher(num_classes, image_shape)


def always_dying(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    return AlwaysDying(num_classes, image_shape)


def diverging(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    return Diverging(num_classes, image_shape)


def raising(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    return Raising(num_classes, image_shape)


def spare(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    """A resnet8 beside a layer of which it makes no use, and which draws no random numbers of it."""
    network = build_network("resnet8", num_classes=num_classes, image_shape=image_shape)
    with torch.random.fork_rng():
        network.add_module("spare", nn.Linear(5, 5))
    return network


def smooth(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    """Convolutions without a kink, at which a difference in the last bit would become a large one."""
    layers: list[nn.Module] = []
    for before, after in ((image_shape[0], 16), (16, 32)):
        layers += [nn.Conv2d(before, after, 3, 2), nn.BatchNorm2d(after), nn.Tanh()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, num_classes))


class PlacesFirst(nn.Module):
    """Has places, not examples, along the first dimension of what its linear layer is given."""

    def __init__(self, num_classes: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(image_shape[0], 4, 3, padding=1)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.conv(x).flatten(2).permute(2, 0, 1)).mean(0)
        return logits


class OwnProduct(PlacesFirst):
    """Multiplies by the weight of its linear layer, which it does not call."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(self.conv(x).mean((2, 3)), self.fc.weight)


class Scale(nn.Module):
    """A layer of one's own, with a parameter of which no member can have a version."""

    def __init__(self) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.by


def scaled(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    network = build_network("resnet8", num_classes=num_classes, image_shape=image_shape)
    network.add_module("scale", Scale())
    return network
