"""The configuration of `cohort bench ods`. Imports no torch, so that ``--help`` is fast."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from cohort.benchmark.exchange.config import check_output
from cohort.config import Precision
from cohort.errors import ConfigError

OdsMethod = Literal["single", "labels", "kd", "gaussian", "ods", "conf_ods"]
METHODS: tuple[OdsMethod, ...] = ("single", "labels", "kd", "gaussian", "ods", "conf_ods")
"""A plain network; a batch ensemble that learns from labels; the same by one-to-one distillation on
images as they are, with noise, with ODS and with ConfODS. The first is what others are compared with."""

PARTS = ("perturbation", "teachers", "clean", "perturbed", "update")
"""Of a step, in order: one teacher's gradient and the images moved along it; all teachers' posteriors;
the student on the images; the student on the perturbed ones; loss, backward and update."""


@dataclass(frozen=True, kw_only=True)
class OdsBenchConfig:
    """A batch ensemble that learns in every way in turn, from random images, timed in rounds."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}  # for cohort.config_file

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
    precision: Precision = "fp32"
    """fp32, or bf16 autocast with fp32 weights."""
    threads: int = 1
    """Torch threads on CPU."""
    gpus: int | None = None
    """GPUs: 0 or 1. Default: 1 if there is one."""
    seed: int = 0
    """Of the networks and of what is drawn."""
    rounds: int = 20
    """Rounds measured, after one that is not; in each, every method takes its turn, and who is first
    changes from round to round."""
    steps: int = 2
    """Steps that a method takes in a round."""
    output: str | None = None
    """JSON file for the raw times, with commit, hardware and versions. Default: none."""

    def __post_init__(self) -> None:
        least = {"batch_size": 2, "image_size": 1, "classes": 2, "members": 2, "threads": 1}
        least |= {"rounds": 1, "steps": 1, "seed": 0}
        for key, lowest in least.items():
            if getattr(self, key) < lowest:
                name = "--" + key.replace("_", "-")
                raise ConfigError(f"{name} is {getattr(self, key)}; it must be {lowest} or greater")
        if self.gpus not in (None, 0, 1):
            raise ConfigError(f"--gpus is {self.gpus}; it must be 0 or 1")
        if "+" in self.model:
            raise ConfigError(f"--model is {self.model!r}; name a plain network, without a +")
        check_output(self.output)
