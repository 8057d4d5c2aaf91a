"""A command that trains: what the command line, studies and ``resume`` need to know of it.

Imports no torch, so that ``--help`` and the reading of a study are fast.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from cohort.config import RunConfig

if TYPE_CHECKING:
    from cohort.run.start import Result, Run
    from cohort.run.watcher import Watcher

Config = TypeVar("Config", bound=RunConfig)
OnStep = Callable[[dict[str, Any]], None]
"""Called with every record that goes into metrics.jsonl."""


class Command(ABC, Generic[Config]):
    """One way to train, from its config to a run that can be started or gone on with."""

    name: ClassVar[str]
    """What is typed: ``cohort NAME``."""
    key: ClassVar[str]
    """What study files call it; its script is called so too."""
    about: ClassVar[str]
    """One sentence for ``--help``."""
    only: ClassVar[str]
    """A key that its config alone has, by which a config.yaml is known."""
    config: type[Config]

    @abstractmethod
    def resolve(self, config: Config) -> Config:
        """The config with every key that was left out filled in; an equal one if none was.

        Raises ConfigError for what recipe, method or teachers do not allow.
        """

    @abstractmethod
    def prepare(self, config: Config) -> "Run":
        """Read the data and try out the networks of a resolved config; nothing is written or started.

        Raises ConfigError for whatever does not fit.
        """

    def start(
        self,
        config: Config,
        *,
        on_step: OnStep | None = None,
        verbose: bool = False,
        watcher: "Watcher | None" = None,
        places: Any = None,
    ) -> "Result":
        """Train, evaluate, and write everything into a run folder.

        Args:
            config: what to train; keys that are None are filled in by ``resolve``.
            on_step: called with every record that goes into metrics.jsonl.
            verbose: show progress on the terminal.
            watcher: told of checkpoints, and may stop the run.
            places: a ``Reservation`` of a cohort's places on a Ray that is running; by default the
                cohort takes its part of the whole cluster.

        Raises:
            ConfigError: the config asks for something impossible; nothing was written.
            RunError: the run failed after it had begun; its last checkpoint is kept.
        """
        from cohort.run.start import start

        return start(self, config, on_step, verbose, watcher, places)

    def resume(
        self,
        run_dir: str | Path,
        *,
        given: Mapping[str, Any] | None = None,
        on_step: OnStep | None = None,
        verbose: bool = False,
        watcher: "Watcher | None" = None,
        places: Any = None,
    ) -> "Result":
        """Go on with a run that was interrupted or killed, or is to go further than it did.

        ``given`` holds the keys to extend, which must be among the config's ``EXTENDABLE``. Raises
        as ``start`` does, and ConfigError for a folder without a valid checkpoint.
        """
        from cohort.run.start import resume

        return resume(self, run_dir, given or {}, on_step, verbose, watcher, places)
