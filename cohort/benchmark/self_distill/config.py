"""The configuration of `cohort bench self-distill`. Imports no torch, so that ``--help`` is fast."""

from dataclasses import dataclass

from cohort.benchmark.config import Timing
from cohort.config import DataConfig, data_keys, positive
from cohort.errors import ConfigError
from cohort.jobs.self_distill.config import WITH_TEACHER, Method, SelfDistillConfig, resolve

METHODS: tuple[Method, ...] = ("none", "dsn", "byot", "kd", "fitnet", "at")
"""Every method; the first one is what the others are compared with."""

LEARNING_RATE = 1e-3
"""Costs what any other does, and nothing diverges."""


@dataclass(frozen=True, kw_only=True)
class StepBenchConfig(DataConfig, Timing):
    """One network that learns by every method in turn, timed in rounds."""

    model: str | None = None
    """The network, and the teacher's: a name or package.module:function that says where its sections end. Default: resnet18; resnet8 on digits."""  # noqa: E501
    batch_size: int | None = None
    """Images a step. Default: the data set's recipe."""
    steps: int = 10
    """Steps that a method takes in a round."""

    def __post_init__(self) -> None:
        DataConfig.__post_init__(self)
        Timing.__post_init__(self)
        positive(self, "batch_size", "steps")
        if self.model is not None and "+" in self.model:
            raise ConfigError(
                f"--model is {self.model!r}; name the network without exits, which are added by the "
                "methods that need them"
            )

    def job(self, method: Method) -> SelfDistillConfig:
        """The resolved config of a job by this method, whose teacher is to be handed to ``prepare``."""
        return resolve(
            SelfDistillConfig(
                **data_keys(self),
                model=self.model,
                method=method,
                teacher="built afresh" if method in WITH_TEACHER else None,
                batch_size=self.batch_size,
                lr=LEARNING_RATE,
                lr_schedule="constant",
                precision=self.precision,
                threads=self.threads,
                seed=self.seed,
                workers=0,
            )
        )
