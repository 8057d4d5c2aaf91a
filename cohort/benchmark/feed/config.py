"""The configuration of `cohort bench feed`. Imports no torch, so that ``--help`` is fast."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from cohort.benchmark.config import Timing
from cohort.config import height_and_width, positive
from cohort.errors import ConfigError
from cohort.runtime.config import CohortConfig, resolve

Mode = Literal["each", "feeder", "ready"]
MODES: tuple[Mode, ...] = ("each", "feeder", "ready")
"""Who decodes: each student for itself, with which the others are compared; one for all; nobody, since
the batch is there."""
CLASSES = 10
LEARNING_RATE = 1e-3
"""Costs what any other does, and nothing diverges."""


@dataclass(frozen=True, kw_only=True)
class FeedBenchConfig(Timing):
    """A cohort that learns from JPEG files, made for the benchmark, decoded in every way in turn."""

    ONE_PROCESS: ClassVar[bool] = False

    k: int = 2
    """Students in the cohort."""
    students: str = "cohort.benchmark.feed.pictures:tiny"
    """One network for all students, or K of them with commas between. Default: one so small that
    decoding is what takes time."""
    image_size: int | str = "128x64"
    """Size of the pictures, as they are in their files and as students see them: N, or HEIGHTxWIDTH."""
    images: int = 2000
    """Files to train on; beyond 500 they are further names of the same ones."""
    batch_size: int = 64
    """Images a step; every student sees the same ones."""
    decoders: int | None = None
    """Threads that decode for all, more than 3 in several processes. Default: the cores that training
    leaves free, at least 1."""
    gpus: int | None = None
    """GPUs for the students. Default: one each, as far as there are."""
    steps: int = 10
    """Steps that each way takes in a round."""

    def __post_init__(self) -> None:
        Timing.__post_init__(self)
        positive(self, "k", "images", "batch_size", "decoders", "steps")
        height_and_width(self.image_size)
        if self.images < max(self.batch_size, CLASSES):
            raise ConfigError(
                f"--images is {self.images}; it must be at least {max(self.batch_size, CLASSES)}, a batch "
                "and one of each class"
            )
        self.cohort("pictures", gpus=0)  # which raises where a launch would

    def cohort(self, data_root: str, gpus: int) -> CohortConfig:
        """The config of ``cohort train`` on the pictures in a folder, resolved."""
        steps = (self.rounds + 1) * self.steps
        return resolve(
            CohortConfig(
                dataset="folder",
                data_root=data_root,
                image_size=self.image_size,
                feed="node",
                decoders=self.decoders,
                k=self.k,
                students=self.students,
                epochs=math.ceil(steps / (self.images // self.batch_size)),
                batch_size=self.batch_size,
                lr=LEARNING_RATE,
                lr_schedule="constant",
                threads=self.threads,
                gpus=gpus,
                teacher="none" if self.k == 1 else "peers",
                precision=self.precision,
                seed=self.seed,
            )
        )
