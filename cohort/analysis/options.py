"""What ``scripts/analyse.py`` is asked for. Imports no torch, so that ``--help`` is fast."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cohort.errors import ConfigError

ANALYSES = ("noise", "gradients", "separability", "early_exit")
OF_EXITS = ("separability", "early_exit")
"""Those that need a student with exits."""


@dataclass(frozen=True, kw_only=True)
class AnalyseOptions:
    """Which runs, which analyses, and how thorough. Raises ConfigError, naming the flag."""

    runs: tuple[str, ...]
    output: str
    data_root: str | None = None
    analyses: tuple[str, ...] | None = None
    """None: every run takes part in all that its student allows."""
    sigmas: tuple[float, ...] = (0, 0.002, 0.005, 0.01, 0.02, 0.05)
    relative: bool = False
    draws: int = 5
    examples: int = 1000

    def __post_init__(self) -> None:
        unknown = set(self.analyses or ()) - set(ANALYSES)
        if unknown or self.analyses == ():
            raise ConfigError(
                f"--analyses is {','.join(self.analyses or ())!r}; it must be one or more of "
                f"{','.join(ANALYSES)}"
            )
        if not self.sigmas or not all(0 <= sigma < math.inf for sigma in self.sigmas):
            raise ConfigError(
                f"--sigmas is {','.join(f'{sigma:g}' for sigma in self.sigmas)!r}; it must be "
                "numbers of 0 or greater with commas between"
            )
        for flag, value, least in (("--draws", self.draws, 1), ("--examples", self.examples, 2)):
            if value < least:
                raise ConfigError(f"{flag} is {value}; it must be at least {least}")


def numbers(flag: str, text: str) -> tuple[float, ...]:
    """The numbers in a flag's value, with commas between.

    Raises:
        ConfigError: if something between the commas is no number.

    Example:
        >>> numbers("--sigmas", "0, 0.01,0.02")
        (0.0, 0.01, 0.02)
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"{flag} is {text!r}; it must be numbers with commas between") from error


def names(text: str) -> tuple[str, ...]:
    """The words in a flag's value, with commas between.

    Example:
        >>> names("noise, gradients")
        ('noise', 'gradients')
    """
    return tuple(word for part in text.split(",") if (word := part.strip()))


def refuse_without_exits(name: str, analyses: Sequence[str]) -> None:
    """Raise ConfigError if an analysis was asked for that a run without exits cannot be part of."""
    if needing := [analysis for analysis in analyses if analysis in OF_EXITS]:
        raise ConfigError(
            f"--analyses is {','.join(analyses)!r}, but {','.join(needing)} needs a student with exits "
            f"and that of {name} has none; for it use --analyses noise,gradients"
        )
