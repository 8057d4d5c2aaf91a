"""The configuration of `cohort bench exchange`. Imports no torch, so that ``--help`` is fast."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from cohort.benchmark.config import Timing
from cohort.config import DataConfig, data_keys, not_negative, positive
from cohort.runtime.config import CohortConfig, Exchange, Schedule, resolve

Mode = Literal["independent", "object_store", "collective", "in_process"]
MODES: tuple[Mode, ...] = ("independent", "object_store", "collective", "in_process")
"""Ways to train K students; the first one is what the others are compared with."""


@dataclass(frozen=True, kw_only=True)
class BenchConfig(DataConfig, Timing):
    """One cohort, trained in every mode in turn, timed in rounds."""

    ONE_PROCESS: ClassVar[bool] = False

    dataset: str = "cifar100"
    """cifar10, cifar100, digits, folder (class per directory), synthetic, or package.module:function."""
    k: int = 2
    """Students in the cohort."""
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
    warmup_rounds: int = 1
    """Rounds before those that are measured."""
    steps_per_round: int = 10
    """Steps that a mode advances in a round."""
    startup: bool = True
    """Also time every mode from the command to its first step, with cohort train."""

    def __post_init__(self) -> None:
        DataConfig.__post_init__(self)
        Timing.__post_init__(self)
        positive(self, "k", "batch_size", "steps_per_round")
        not_negative(self, "warmup_rounds")
        for mode in MODES:
            self.cohort(mode, gpus=0)  # which raises where a launch would

    def cohort(self, mode: Mode, gpus: int) -> CohortConfig:
        """The config of ``cohort train`` for this mode, resolved."""
        exchange: Exchange = "object_store" if mode == "independent" else mode
        return resolve(
            CohortConfig(
                **data_keys(self),
                k=self.k,
                students=self.students,
                batch_size=self.batch_size,
                threads=self.threads,
                gpus=gpus,
                teacher="none" if mode == "independent" else self.teacher,
                schedule="simultaneous" if mode == "independent" else self.schedule,
                precision=self.precision,
                seed=self.seed,
                exchange=exchange,
            )
        )
