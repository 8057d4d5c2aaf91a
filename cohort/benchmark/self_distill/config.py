"""The configuration of `cohort bench self-distill`. Imports no torch, so that ``--help`` is fast."""

from dataclasses import dataclass

from cohort.benchmark.exchange.config import check_output
from cohort.config import DataConfig, Precision, data_keys, not_negative, positive
from cohort.errors import ConfigError
from cohort.jobs.self_distill.config import WITH_TEACHER, Method, SelfDistillConfig, resolve

METHODS: tuple[Method, ...] = ("none", "dsn", "byot", "kd", "fitnet", "at")
"""Every method; the first one is what the others are compared with."""

LEARNING_RATE = 1e-3
"""Costs what any other does, and nothing diverges."""


@dataclass(frozen=True, kw_only=True)
class StepBenchConfig(DataConfig):
    """One network that learns by every method in turn, timed in rounds."""

    model: str | None = None
    """The network, and the teacher's: a name or package.module:function that says where its sections end. Default: resnet18; resnet8 on digits."""  # noqa: E501
    batch_size: int | None = None
    """Images a step. Default: the data set's recipe."""
    precision: Precision = "fp32"
    """fp32, or bf16 autocast with fp32 weights."""
    threads: int = 1
    """Torch threads on CPU."""
    gpus: int | None = None
    """GPUs: 0 or 1. Default: 1 if there is one."""
    seed: int = 0
    """Of the networks, data order and augmentation."""
    rounds: int = 20
    """Rounds measured, after one that is not; in each, every method takes its turn, and who is first
    changes from round to round."""
    steps: int = 10
    """Steps that a method takes in a round."""
    output: str | None = None
    """JSON file for the raw times, with commit, hardware and versions. Default: none."""

    def __post_init__(self) -> None:
        DataConfig.__post_init__(self)
        positive(self, "batch_size", "threads", "rounds", "steps")
        not_negative(self, "seed")
        if self.gpus not in (None, 0, 1):
            raise ConfigError(f"--gpus is {self.gpus}; it must be 0 or 1")
        if self.model is not None and "+" in self.model:
            raise ConfigError(
                f"--model is {self.model!r}; name the network without exits, which are added by the "
                "methods that need them"
            )
        check_output(self.output)

    def job(self, method: Method) -> SelfDistillConfig:
        """What `cohort self-distill` would take, resolved; its teacher is to be handed to ``prepare``."""
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
