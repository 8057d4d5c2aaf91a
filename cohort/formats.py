"""Versions of the files that runs, students and studies are kept in.

Each says its own under ``format``; one that says none is of version 1. What one version of this
package wrote, later ones read, so a number goes up only when an older reader would misunderstand.
"""

from collections.abc import Mapping
from typing import Any

from cohort.errors import ConfigError, brief

KEY = "format"
MANIFEST = 1
"""Of a checkpoint's manifest.json."""
CARD = 1
"""Of a student's model.json."""
CONFIG = 1
"""Of a run's config.yaml, and of any file for ``--config``."""
DATA = 1
"""Of a run's data.json."""
PRETRAINED = 1
"""Of a run's pretrained.json."""
SUMMARY = 1
"""Of a run's summary.json, which does not say it."""
ANALYSES = 1
"""Of the index.json of a run's analyses."""
STUDY = 1
"""Of a study's file, and of the study.yaml in its folder."""


def check_format(values: Mapping[str, Any], known: int, file: object) -> None:
    """Raise ConfigError for what a file holds if its version is none from 1 to ``known``.

    Example:
        >>> check_format({"format": 1, "lr": 0.1}, 1, "config.yaml")
    """
    version = values.get(KEY, 1)
    if type(version) is not int or version < 1:
        raise ConfigError(f"{file}: {KEY} is {brief(version)}; it must be a whole number from 1")
    if version > known:
        raise ConfigError(
            f"{file} is of format {brief(version)}, but this version of cohort reads formats up to {known}; "
            "install a newer cohort"
        )
