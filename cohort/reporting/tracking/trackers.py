"""The trackers by name. Imports none of them, so that reading a config is fast."""

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from cohort.errors import ConfigError
from cohort.reporting.tracking.aside import Aside
from cohort.reporting.tracking.tracker import About, Tracker


class Known(NamedTuple):
    """Where a tracker is, and what it needs."""

    name: str
    """Of its class."""
    package: str
    """That has to be installed."""
    extra: str
    """Of ours, that installs it."""


TRACKERS = {
    "tensorboard": Known("TensorBoard", "tensorboard", "tensorboard"),
    "mlflow": Known("MLflow", "mlflow", "mlflow"),
    "wandb": Known("WandB", "wandb", "wandb"),
}


def check_installed(names: Sequence[str]) -> None:
    """Raise ConfigError for a tracker whose package is not installed, or which nobody knows."""
    for name in names:
        if importlib.util.find_spec(TRACKERS[name].package) is None:
            raise ConfigError(
                f"--log-to {name} needs a package that is not installed: "
                f"pip install 'cohort[{TRACKERS[name].extra}]'"
            )


def open_trackers(
    names: Sequence[str], about: About, complain: Callable[[str], None]
) -> list[Aside]:
    """The trackers of a run, each in its thread; ``complain`` is called once for each that fails."""
    return [Aside(name, partial(_open, name, about), complain) for name in names]


def _open(name: str, about: About) -> Tracker:
    module = importlib.import_module(f"cohort.reporting.tracking.{name}")
    tracker: Tracker = getattr(module, TRACKERS[name].name).open(about)
    return tracker
