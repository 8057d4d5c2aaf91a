"""The configuration that all jobs share."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from cohort.config import LOCAL, RunConfig, check_address, check_capture, not_empty, not_negative
from cohort.errors import ConfigError

BatchNorm = Literal["synchronised", "local"]


@dataclass(frozen=True, kw_only=True)
class JobConfig(RunConfig):
    """One student, learned by data-parallel workers on Ray Train."""

    EXTENDABLE: ClassVar[tuple[str, ...]] = (
        *RunConfig.EXTENDABLE,
        "workers",
        "gpus",
        "max_failures",
        "address",
    )

    workers: int = 1
    """Workers that share each batch; 0 trains in this process, without Ray. The batch, and so the learning rate, is the same whatever their number."""  # noqa: E501
    gpus: int | None = None
    """GPUs in total: one per worker, or 0. Default: one per worker if Ray sees any, else 0."""
    batch_norm: BatchNorm = "synchronised"
    """Batch normalisation over the examples of all workers (synchronised), or of each for itself (local)."""
    max_failures: int = 3
    """Deaths of workers after which the run stops; until then all go on from the last checkpoint."""
    address: str | None = None
    """Running Ray cluster to join: auto or host:port; local, the default, starts a Ray of the run's own."""

    def __post_init__(self) -> None:
        RunConfig.__post_init__(self)
        not_negative(self, "workers", "gpus", "max_failures")
        not_empty(self, "address")
        check_address(self.address)
        check_capture(self, self.gpus)
        for given in ("--capture on",) * (self.capture == "on") + ("--compile",) * self.compile:
            if self.workers > 1:
                raise ConfigError(
                    f"{given} cannot go with --workers {self.workers}, who wait for each other within a "
                    "step; use --workers 1, or leave it out"
                )
        if len(self.pretrained_files) > 1:
            raise ConfigError(
                f"--pretrained is {self.pretrained!r}; here is one student, so it must be one file"
            )
        if self.workers == 0 and self.address not in (None, LOCAL):
            raise ConfigError(
                f"--address is {self.address!r} with --workers 0, which uses no cluster; "
                "leave one of them out, or use --address local"
            )
        if self.workers > 0 and self.gpus not in (None, 0, self.workers):
            raise ConfigError(
                f"--gpus is {self.gpus} with --workers {self.workers}: each worker takes one; "
                f"use --gpus {self.workers} or 0"
            )

    @property
    def in_this_process(self) -> bool:
        """Whether the student trains in the process that starts the run, without Ray."""
        return self.workers == 0
