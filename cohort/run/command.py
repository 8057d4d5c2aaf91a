"""A command that trains: what the command line, studies and ``resume`` need to know of it.

Imports no torch, so that ``--help`` and the reading of a study are fast.
"""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cohort.config import RunConfig
from cohort.config_file import ONLY, plain_values, read_config
from cohort.errors import ConfigError
from cohort.invocation import as_argument, command_line
from cohort.reporting.tracking.trackers import check_installed
from cohort.trust import names_code

if TYPE_CHECKING:
    from pathlib import Path

    from cohort.data.dataset import ImageDataset
    from cohort.run.ready import Run

Config = TypeVar("Config", bound=RunConfig)


@dataclass(frozen=True)
class Command(Generic[Config]):
    """One way to train, from its config to a run that ``start_run`` or ``resume_run`` carries out."""

    name: str
    """What is typed: ``cohort NAME``."""
    key: str
    """What study files call it; its script is called so too."""
    config: type[Config]
    home: str
    """The module with its ``resolve``, ``check_here`` and ``prepare``, imported to train: it needs torch."""

    def resolve(self, config: Config) -> Config:
        """The config with every key that was left out filled in; an equal one if none was.

        Raises ConfigError for what recipe, method or teachers do not allow.
        """
        resolved: Config = self._module().resolve(config)
        return resolved

    def check_here(self, config: Config) -> None:
        """Raise ConfigError for what this machine does not have, if it is known that the run is trained here.

        Nothing is read or started for that. The config is resolved.
        """
        self._module().check_here(config)

    def prepare(self, config: Config, dataset: "ImageDataset | None" = None) -> "Run":
        """Read the data and try out the networks of a resolved config; nothing is written or started.

        ``dataset`` stands in for the data that the config names, which are then not read. Raises
        ConfigError for whatever does not fit.
        """
        check_installed(config.trackers)
        run: Run = self._module().prepare(config, dataset)
        return run

    def check_own(self, config: "Path") -> None:
        """Raise ConfigError if a run's config.yaml is of no run: an empty one would mean all defaults."""
        if not ONLY.keys() & read_config(config).keys():
            raise ConfigError(
                f"{config} is of no run of {command_line(self.name)}: it has none of {', '.join(ONLY)}"
            )

    def to_resume(self, config: Config, run_dir: object) -> str:
        """The command line that goes on with a run of a config, trusting the code that it trusted."""
        trusts = config.trust_code or names_code(plain_values(config))
        words = ("--resume", as_argument(run_dir), *("--trust-code",) * trusts)
        return command_line(self.name, *words)

    def _module(self) -> Any:
        return importlib.import_module(self.home)
