"""A command that trains: what the command line, studies and ``resume`` need to know of it.

Imports no torch, so that ``--help`` and the reading of a study are fast.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from cohort.config import RunConfig

if TYPE_CHECKING:
    from cohort.data.dataset import ImageDataset
    from cohort.run.start import Run

Config = TypeVar("Config", bound=RunConfig)


class Command(ABC, Generic[Config]):
    """One way to train, from its config to a run that ``start_run`` or ``resume_run`` carries out."""

    name: ClassVar[str]
    """What is typed: ``cohort NAME``."""
    key: ClassVar[str]
    """What study files call it; its script is called so too."""
    config: type[Config]

    @abstractmethod
    def resolve(self, config: Config) -> Config:
        """The config with every key that was left out filled in; an equal one if none was.

        Raises ConfigError for what recipe, method or teachers do not allow.
        """

    @abstractmethod
    def prepare(self, config: Config, dataset: "ImageDataset | None" = None) -> "Run":
        """Read the data and try out the networks of a resolved config; nothing is written or started.

        ``dataset`` stands in for the data that the config names, which are then not read. Raises
        ConfigError for whatever does not fit.
        """
