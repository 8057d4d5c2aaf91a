"""The configuration of `cohort bench exchange`. Imports no torch, so that ``--help`` is fast."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cohort.config import DataConfig, Precision, data_keys, not_negative, positive
from cohort.errors import ConfigError
from cohort.runtime.config import CohortConfig, Exchange, Schedule, resolve

Mode = Literal["independent", "object_store", "collective", "in_process"]
MODES: tuple[Mode, ...] = ("independent", "object_store", "collective", "in_process")
"""Ways to train K students; the first one is what the others are compared with."""


@dataclass(frozen=True, kw_only=True)
class BenchConfig(DataConfig):
    """The same cohort in every mode, timed in rounds."""

    dataset: str = "cifar100"
    """cifar10, cifar100, digits, folder (class per directory), synthetic, or package.module:function."""
    k: int = 2
    """Students in the cohort."""
    students: str = "resnet20"
    """One network for all students, or K of them with commas between."""
    batch_size: int = 64
    """Images a step; every student sees the same ones."""
    threads: int = 1
    """Torch threads per student on CPU."""
    gpus: int | None = None
    """GPUs for the students; in process, one at most. Default: one each, as far as there are."""
    teacher: Literal["peers", "ensemble", "ensemble_logits"] = "peers"
    """What a student mimics in every mode but independent, where there is no teacher."""
    schedule: Schedule = "simultaneous"
    """simultaneous, or sequential with re-prediction (the paper's Algorithm 1)."""
    precision: Precision = "fp32"
    """fp32, or bf16 autocast with fp32 weights."""
    seed: int = 0
    """Of students, data order and augmentation, and of the order of modes within a round."""
    rounds: int = 20
    """Rounds measured; in each, every mode advances once, in random order."""
    warmup_rounds: int = 1
    """Rounds before them that are not counted."""
    steps_per_round: int = 10
    """Steps that a mode advances in a round."""
    startup: bool = True
    """Also time every mode from the command to its first step, as `cohort train` takes it."""
    output: str | None = None
    """JSON file for the raw times, with commit, hardware and versions. Default: none."""

    def __post_init__(self) -> None:
        DataConfig.__post_init__(self)
        positive(self, "k", "batch_size", "threads", "rounds", "steps_per_round")
        not_negative(self, "seed", "gpus", "warmup_rounds")
        check_output(self.output)
        for mode in MODES:
            self.cohort(mode, gpus=0)  # which raises where a launch would

    def cohort(self, mode: Mode, gpus: int) -> CohortConfig:
        """What `cohort train` would take, resolved."""
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


def check_output(output: str | None) -> None:
    """Raise ConfigError if the results could not be written to ``--output``."""
    if output is None:
        return
    if Path(output).is_dir():
        raise ConfigError(f"--output is {output!r}, a directory; it must be a file")
    for parent in Path(output).parents:
        if parent.exists() and not parent.is_dir():
            raise ConfigError(f"--output is {output!r}, but {parent} is a file; name another place")
