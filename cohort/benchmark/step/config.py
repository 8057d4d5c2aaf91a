"""The configuration of `cohort bench step`. Imports no torch, so that ``--help`` is fast."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cohort.benchmark.config import Timing
from cohort.config import Capture, DataConfig, data_keys, positive
from cohort.errors import ConfigError
from cohort.runtime.config import CohortConfig, resolve

Way = Literal["eager", "graph", "compiled"]
"""Kernel by kernel; as one CUDA graph; compiled too, on a GPU in a CUDA graph."""

LEARNING_RATE = 1e-3
"""Costs what any other does, and nothing diverges."""


@dataclass(frozen=True, kw_only=True)
class CohortStepBenchConfig(DataConfig, Timing):
    """Cohorts of several sizes in this process, each stepped in every way in turn."""

    dataset: str = "synthetic"
    """cifar10, cifar100, digits, folder (class per directory), synthetic, or package.module:function."""
    k: str | int | tuple[int, ...] = "1,2,4,8"
    """Numbers of students, with commas between."""
    students: str = "resnet32"
    """One network for all students."""
    batch_size: int = 64
    """Images a step."""
    steps: int = 50
    """Steps that a way takes in a round."""
    compile: bool = False
    """Also compile the networks, which takes half a minute or more for each number of students."""

    def __post_init__(self) -> None:
        DataConfig.__post_init__(self)
        Timing.__post_init__(self)
        positive(self, "batch_size", "steps")
        for k in self.sizes:
            self.cohort(k, "eager", on_gpu=False)  # which raises where a launch would

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of students. Raises ConfigError for what are none."""
        given = str(self.k).split(",") if isinstance(self.k, int | str) else map(str, self.k)
        numbers = [text.strip() for text in given]
        if not all(number.isdecimal() and int(number) > 0 for number in numbers):
            raise ConfigError(
                f"--k is {self.k!r}; it must be numbers of students with commas between, such as 1,2,4"
            )
        return tuple(map(int, numbers))

    def ways(self, *, on_gpu: bool) -> Sequence[Way]:
        """Those that are compared."""
        graph: tuple[Way, ...] = ("graph",) if on_gpu else ()
        compiled: tuple[Way, ...] = ("compiled",) if self.compile else ()
        return ("eager", *graph, *compiled)

    def cohort(self, k: int, way: Way, *, on_gpu: bool) -> CohortConfig:
        """The config of ``cohort train`` for so many students, resolved."""
        capture: Capture = "on" if on_gpu and way != "eager" else "off"
        return resolve(
            CohortConfig(
                **data_keys(self),
                k=k,
                students=self.students,
                batch_size=self.batch_size,
                epochs=1_000_000,  # batches are made ahead for as long as there are steps
                lr=LEARNING_RATE,
                lr_schedule="constant",
                teacher="none" if k == 1 else "peers",
                exchange="in_process",
                precision=self.precision,
                threads=self.threads,
                seed=self.seed,
                capture=capture,
                compile=way == "compiled",
            )
        )
