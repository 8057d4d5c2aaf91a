"""A run that is ready to train: what a command makes of its config."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

from cohort.config import RunConfig
from cohort.data.dataset import ImageDataset
from cohort.learning.plan import TrainingPlan
from cohort.learning.pretrained import Pretrained, fit, read_weights
from cohort.models.normalised import Normalised
from cohort.models.spec import Network
from cohort.run.checkpoint import Checkpoint
from cohort.run.ending import Training
from cohort.run.owner import Owner


class Ready(NamedTuple):
    """A run whose places are taken: what is left is to train."""

    config: RunConfig
    """Resolved, with what only the places decided."""
    training: Callable[[Owner], Training]
    """Makes what trains from an owner's checkpoint on."""
    notice: str | None = None
    """A sentence for the user, of how places are shared."""


@dataclass(frozen=True, kw_only=True)
class Run(ABC):
    """A run made ready: its data are read, its networks tried out; nothing is written or started."""

    config: RunConfig
    plan: TrainingPlan
    dataset: ImageDataset
    name: str
    """Data set and method, for a folder that the user did not name."""
    greeting: str
    """What is started, for the user who waits."""
    networks: tuple[Network, ...]
    """Of the students, as the config has them; a function of one's own may have no importable name."""
    names: Mapping[int, str]
    """The network of each student, as records have it."""
    largest_network: int
    """Parameters of the largest network."""

    @abstractmethod
    def check_restores(self, checkpoint: Checkpoint) -> None:
        """Raise ConfigError if a checkpoint is of other students than these."""

    @abstractmethod
    def student(self, number: int) -> Normalised:
        """A student at step 0, freshly initialised, on the CPU."""

    def start(self) -> dict[int, Pretrained]:
        """The weights that students start from who do not start anew, read from the files of the config.

        Raises ConfigError if a file is none of weights, or does not fit its student.
        """
        given = self.config.pretrained_files
        per_student = given * len(self.names) if len(given) == 1 else given
        chosen = {k: file for k, file in zip(self.names, per_student, strict=True) if file}
        files = {file: read_weights(file) for file in dict.fromkeys(chosen.values())}
        dataset = self.dataset
        return {
            k: fit(files[file], self.student(k), dataset.classes, dataset.image_shape)
            for k, file in chosen.items()
        }

    @abstractmethod
    def check_fits_here(self) -> None:
        """Raise ConfigError for what this machine does not hold, if it is known that it is to train."""

    def ray_to_start(self) -> str | None:
        """What is said of the Ray that ``session`` waits for; None where it waits for none."""
        return None

    @abstractmethod
    def session(self) -> AbstractContextManager[None]:
        """Inside is the Ray that the run needs, if it needs one."""

    @abstractmethod
    def placed(self, places: Any) -> AbstractContextManager[Ready]:
        """Inside, the run has its places: those that are lent, or its part of the cluster."""

    def baseline(self) -> tuple[RunConfig, Sequence[str]] | None:
        """What is trained afterwards in the same session, to compare with, if anything is.

        And the keys that are given anew where it was begun before.
        """
        return None
