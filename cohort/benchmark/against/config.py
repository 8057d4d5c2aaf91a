"""The configuration of `cohort bench against`. Imports no torch, so that ``--help`` is fast."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from cohort.benchmark.config import Timing, check_images
from cohort.config import flag, positive
from cohort.errors import ConfigError
from cohort.runtime.config import CohortConfig, Exchange, resolve

Package = Literal["pytorch-dml", "KD-Lib"]
PACKAGES: tuple[Package, ...] = ("pytorch-dml", "KD-Lib")
"""As PyPI knows them: what a cohort of ours is compared with."""
OURS = "cohort"
AUTOCAST = ", autocast"
"""Behind the name of a package that is called under bf16 autocast, which it does not do by itself."""
IMAGES = 2000
LEARNING_RATE = 1e-3
"""Costs what any other does, and nothing diverges."""


@dataclass(frozen=True, kw_only=True)
class AgainstConfig(Timing):
    """Students that teach each other, by this package and by others in turn, from random images."""

    ONE_PROCESS: ClassVar[bool] = False

    k: int = 2
    """Students in the cohort."""
    students: str = "resnet20"
    """The network of every student, here and in the packages."""
    batch_size: int = 64
    """Images a step; every student sees the same ones, here and in the packages."""
    image_size: int = 32
    """Height and width of the images."""
    classes: int = 100
    """Classes of the labels."""
    exchange: Exchange = "object_store"
    """How our students exchange posteriors: object_store, collective, or in_process."""
    channels_last: bool = False
    """Give the packages' networks the memory layout that ours have, which they do not by themselves."""
    packages: str | None = None
    """Folder that has the packages. Default: where Python looks."""
    steps: int = 10
    """Steps that each takes in a round."""

    def __post_init__(self) -> None:
        Timing.__post_init__(self)
        positive(self, "image_size", "steps")
        for key in ("k", "batch_size", "classes"):
            if getattr(self, key) < 2:
                raise ConfigError(f"{flag(key)} is {getattr(self, key)}; it must be 2 or greater")
            positive(self, key)  # which refuses what is too long to count
        check_images(IMAGES, self.image_size, number=1)
        if self.batch_size > IMAGES:
            raise ConfigError(
                f"--batch-size is {self.batch_size}; it must be at most {IMAGES}, the images there are"
            )
        if "," in self.students or "+" in self.students:
            raise ConfigError(
                f"--students is {self.students!r}; name one plain network, without a comma or a +"
            )
        self.cohort(gpus=0)  # which raises where a launch would

    def cohort(self, gpus: int) -> CohortConfig:
        """The config of ``cohort train`` with these students, resolved."""
        steps = (self.rounds + 1) * self.steps
        return resolve(
            CohortConfig(
                dataset="cifar100",
                k=self.k,
                students=self.students,
                epochs=math.ceil(steps / (IMAGES // self.batch_size)),
                batch_size=self.batch_size,
                lr=LEARNING_RATE,
                lr_schedule="constant",
                exchange=self.exchange,
                threads=self.threads,
                gpus=gpus,
                precision=self.precision,
                seed=self.seed,
            )
        )
