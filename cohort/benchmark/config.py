"""What the benchmarks' configurations share. Imports no torch, so that ``--help`` is fast."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from cohort.config import Precision, not_negative, positive
from cohort.errors import ConfigError
from cohort.files import refuse_uri
from cohort.machine import gib, memory
from cohort.runtime.placement import check_threads, this_machine


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How what is compared is timed: interleaved, in rounds. Raises ConfigError, naming the flag."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}  # for cohort.config_file
    ONE_PROCESS: ClassVar[bool] = True

    precision: Precision = "fp32"
    """fp32, also on a GPU; tf32 in a GPU's convolutions and matrix products; or bf16 autocast with fp32
    weights."""
    threads: int = 1
    """Torch threads on CPU; of every student if each has a process."""
    gpus: int | None = None
    """GPUs: 0 or 1. Default: 1 if there is one."""
    seed: int = 0
    """Of networks, data order and augmentation, and of the order of turns within a round."""
    rounds: int = 20
    """Rounds measured, after one that is not; in each, all take their turns, in random order."""
    output: str | None = None
    """JSON file for the raw times, with commit, hardware and versions. Default: none."""

    def __post_init__(self) -> None:
        positive(self, "threads", "rounds")
        check_threads([this_machine()], self.threads)
        not_negative(self, "seed", "gpus")
        if self.ONE_PROCESS and self.gpus not in (None, 0, 1):
            raise ConfigError(f"--gpus is {self.gpus}; it must be 0 or 1")
        if self.output is not None:
            refuse_uri(self.output, "--output")
            _check_writable(Path(self.output))


def check_images(count: int, size: int, number: int) -> None:
    """Raise ConfigError for RGB images, ``size`` pixels a side and ``number`` bytes a value, if too many."""
    taken, there = 3 * number * count * size**2, memory()
    if taken > there:
        raise ConfigError(
            f"--image-size is {size}, of which {count} images would take {gib(taken)}, and this machine "
            f"has {gib(there)} of memory; take smaller ones"
        )


def _check_writable(output: Path) -> None:
    if output.is_dir():
        raise ConfigError(f"--output is {str(output)!r}, a directory; it must be a file")
    for parent in output.parents:
        if parent.exists() and not parent.is_dir():
            raise ConfigError(
                f"--output is {str(output)!r}, but {parent} is a file; name another place"
            )
