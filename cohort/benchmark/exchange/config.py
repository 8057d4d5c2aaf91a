"""The configuration of `cohort bench exchange`. Imports no torch, so that ``--help`` is fast."""

from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from cohort.benchmark.config import Timing
from cohort.config import DataConfig, data_keys, flag, not_negative, positive
from cohort.errors import ConfigError
from cohort.runtime.config import (
    Aggregate,
    CohortConfig,
    Exchange,
    Schedule,
    WirePrecision,
    resolve,
)

Mode = Literal["independent", "object_store", "collective", "in_process"]
MODES: tuple[Mode, ...] = ("independent", "object_store", "collective", "in_process")
"""Ways to train K students; the first one is what the others are compared with."""
OF_LATENCY = (
    "k", "per_process", "teacher", "schedule", "aggregate", "wire", "latency", "warmup_rounds",
    "steps_per_round", "rounds", "seed", "output",
)  # fmt: skip
"""Keys that mean something where nothing is trained."""
LARGEST = 2 * 10**7
"""Numbers of one student's posteriors: 80 MB, of which every process holds those of all."""


@dataclass(frozen=True, kw_only=True)
class BenchConfig(DataConfig, Timing):
    """One cohort, trained in every mode in turn, timed in rounds."""

    ONE_PROCESS: ClassVar[bool] = False

    dataset: str = "cifar100"
    """cifar10, cifar100, digits, folder (class per directory), synthetic, or package.module:function."""
    k: int = 2
    """Students in the cohort."""
    per_process: int | None = None
    """At most so many students in a process. Default: all that share a GPU, or a core (or --threads cores)."""  # noqa: E501
    students: str = "resnet20"
    """One network for all students, or K of them with commas between."""
    batch_size: int = 64
    """Images a step; every student sees the same ones."""
    gpus: int | None = None
    """GPUs for the students; in process, one at most. Default: one each, as far as there are."""
    teacher: Literal["peers", "ensemble", "ensemble_logits"] = "peers"
    """What a student mimics in every mode but independent, where there is no teacher."""
    schedule: Schedule = "simultaneous"
    """simultaneous, or sequential with re-prediction (the paper's Algorithm 1)."""
    aggregate: Aggregate = "auto"
    """What travels between processes: gather, each student's posterior; sum, that of each process; or auto, by the bytes."""  # noqa: E501
    wire: WirePrecision = "fp32"
    """In which precision it travels: fp32 or fp16."""
    latency: str | None = None
    """Train nothing: measure the exchange alone, of posteriors of these sizes, BATCHxCLASSES with
    commas between, such as 64x100,512x1000. Default: train."""
    warmup_rounds: int = 1
    """Rounds before those that are measured."""
    steps_per_round: int = 10
    """Steps that a mode advances in a round."""
    startup: bool = True
    """Also time every mode from the command to its first step, with cohort train."""

    def __post_init__(self) -> None:
        DataConfig.__post_init__(self)
        Timing.__post_init__(self)
        positive(self, "k", "per_process", "batch_size", "steps_per_round")
        not_negative(self, "warmup_rounds")
        if self.latency is not None:
            _check_latency(self)
        for mode in MODES:
            self.cohort(mode, gpus=0)  # which raises where a launch would

    def cohort(self, mode: Mode, gpus: int) -> CohortConfig:
        """The config of ``cohort train`` for this mode, resolved."""
        exchange: Exchange = "object_store" if mode == "independent" else mode
        travels = mode in ("object_store", "collective")
        return resolve(
            CohortConfig(
                **data_keys(self),
                k=self.k,
                per_process=None if mode == "in_process" else self.per_process,
                students=self.students,
                batch_size=self.batch_size,
                threads=self.threads,
                gpus=gpus,
                teacher="none" if mode == "independent" else self.teacher,
                schedule="simultaneous" if mode == "independent" else self.schedule,
                precision=self.precision,
                seed=self.seed,
                exchange=exchange,
                aggregate=self.aggregate if travels else "auto",
                wire=self.wire if travels else "fp32",
            )
        )

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Batch and classes of the posteriors whose exchange alone is measured."""
        return [_batch_and_classes(size) for size in (self.latency or "").split(",") if size]


def _batch_and_classes(size: str) -> tuple[int, int]:
    batch, _, classes = size.strip().partition("x")
    written = batch.isdecimal() and classes.isdecimal() and len(size) < 20
    if not (written and int(batch) and int(classes) > 1 and int(batch) * int(classes) <= LARGEST):
        raise ConfigError(
            f"--latency has {size.strip()!r}; it must be BATCHxCLASSES, of 2 classes or more and "
            f"{LARGEST} numbers or fewer, with commas between, such as 64x100,512x1000"
        )
    return int(batch), int(classes)


def _check_latency(config: BenchConfig) -> None:
    """Raise ConfigError for sizes that are none, and for keys that mean something in training only."""
    if not config.sizes:
        raise ConfigError("--latency is empty; name sizes such as 64x100,512x1000")
    if config.steps_per_round < 2:
        raise ConfigError(
            f"--steps-per-round is {config.steps_per_round} with --latency, which measures from step to "
            "step; use 2 or more"
        )
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name not in OF_LATENCY and value != field.default:
            raise ConfigError(
                f"{flag(field.name)} is {value} with --latency, which trains nothing; leave one of them out"
            )
