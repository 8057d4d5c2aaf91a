"""The configuration of `cohort bench ods`. Imports no torch, so that ``--help`` is fast."""

from dataclasses import dataclass
from typing import Literal

from cohort.benchmark.config import Timing, check_images
from cohort.config import flag, positive
from cohort.errors import ConfigError

OdsMethod = Literal["single", "labels", "kd", "gaussian", "ods", "conf_ods"]
METHODS: tuple[OdsMethod, ...] = ("single", "labels", "kd", "gaussian", "ods", "conf_ods")
"""A plain network; a batch ensemble that learns from labels; the same by one-to-one distillation on
images as they are, with noise, with ODS and with ConfODS. The first is what others are compared with."""

PARTS = ("perturbation", "teachers", "clean", "perturbed", "update")
"""Parts of a step, in order: one teacher's gradient and the images moved along it; all teachers' posteriors;
the student on the images; the student on the perturbed ones; loss, backward and update."""


@dataclass(frozen=True, kw_only=True)
class OdsBenchConfig(Timing):
    """A batch ensemble that learns in every way in turn, from random images, timed in rounds."""

    model: str = "resnet20"
    """The network of the single student, of each member and of each teacher."""
    members: int = 4
    """Members of the student, and teachers."""
    batch_size: int = 64
    """Images a step; each goes through all members."""
    image_size: int = 32
    """Height and width of the images."""
    classes: int = 100
    """Classes of the labels."""
    stacked_teachers: bool = False
    """Ask all teachers in one batched call, instead of one after the other."""
    steps: int = 2
    """Steps that a method takes in a round."""

    def __post_init__(self) -> None:
        Timing.__post_init__(self)
        positive(self, "image_size", "steps")
        for key in ("batch_size", "classes", "members"):
            if getattr(self, key) < 2:
                raise ConfigError(f"{flag(key)} is {getattr(self, key)}; it must be 2 or greater")
            positive(self, key)  # which refuses what is too long to count
        check_images(self.batch_size, self.image_size, number=4)
        if "+" in self.model:
            raise ConfigError(f"--model is {self.model!r}; name a plain network, without a +")
