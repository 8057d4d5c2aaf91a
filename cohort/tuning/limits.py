"""What single keys of a study may be."""

import math
from typing import Any

from cohort.errors import ConfigError


def at_least(section: Any, least: int, *keys: str) -> None:
    """Raise ConfigError for a key whose value is neither None nor finite and ``least`` or more."""
    for key in keys:
        value = getattr(section, key)
        if value is not None and not least <= value < math.inf:
            raise ConfigError(f"{key} is {value}; it must be {least} or greater")


def not_empty(section: Any, key: str) -> None:
    """Raise ConfigError for a key whose list is empty."""
    if not getattr(section, key):
        raise ConfigError(f"{key} is []; it must hold at least one")
