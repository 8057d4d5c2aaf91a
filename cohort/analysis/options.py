"""What ``cohort analyse`` is asked for. Imports no torch, so that ``--help`` is fast."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from cohort.config import OdsNorm
from cohort.errors import ConfigError
from cohort.files import refuse_uri

ANALYSES = ("noise", "gradients", "separability", "early_exit", "diversity", "transfer", "jacobian")
EXITS = "a student with exits"
SCATTER = "two test images"
PAIR = "two students, or a student with two members"
KNOWN = "test images of the classes that are learned"
TRIO = "three students, or a student with three members"


@dataclass(frozen=True, kw_only=True)
class AnalyseOptions:
    """Which runs, which analyses, and how thorough. Raises ConfigError, naming the flag."""

    runs: tuple[str, ...]
    """Folders of finished runs, or their URIs."""
    output: str
    """Where figures and tables are written."""
    data_root: str | None = None
    """Where the data lie now. Default: as then."""
    analyses: tuple[str, ...] | None = None
    """Of noise, gradients, separability, early_exit, diversity, transfer, jacobian, with commas between.
    Default: all that a run allows: separability and early_exit need exits, diversity two students or
    members, transfer three, jacobian the teachers of a run of `cohort ods-distill`."""
    sigmas: tuple[float, ...] = (0, 0.002, 0.005, 0.01, 0.02, 0.05)
    """Standard deviations of the weight noise, with commas between."""
    relative: bool = False
    """Sigmas are fractions of each weight tensor's root mean square."""
    draws: int = 5
    """Random noises per sigma, and random projections per image of the Jacobians."""
    eta: float = 1.0
    """Step size of perturbed inputs, in 1/255 of the pixels' range."""
    tau: float = 1.0
    """Temperature of the posterior along whose gradient inputs are moved."""
    norm: OdsNorm = "rms"
    """What is 1 of an ODS step of eta 1: its root mean square over the pixels, or its length."""
    examples: int = 1000
    """Images of a split that an analysis looks at, chosen at random."""
    trust_code: bool = False
    """Run the code that files name, networks and data sets as package.module:function. Default: refuse
    them, for files may come from anywhere."""

    def __post_init__(self) -> None:
        refuse_uri(self.output, "--output")
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
        for flag, number in (("--eta", self.eta), ("--tau", self.tau)):
            if not 0 < number < math.inf:
                raise ConfigError(f"{flag} is {number:g}; it must be a number greater than 0")
        if self.norm not in get_args(OdsNorm):
            raise ConfigError(
                f"--norm is {self.norm!r}; it must be one of {', '.join(get_args(OdsNorm))}"
            )


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


def distinct_names(run_dirs: Sequence[str]) -> list[str]:
    """Names of runs: as many last parts of each path as tell all apart, joined by hyphens.

    Raises:
        ConfigError: if a folder is given twice.

    Example:
        >>> distinct_names(["/runs/a/alone", "/runs/b/alone"])
        ['a-alone', 'b-alone']
    """
    paths = [Path(run_dir).resolve() for run_dir in run_dirs]
    for number, path in enumerate(paths):
        if path in paths[:number]:
            raise ConfigError(
                f"RUN_DIR {run_dirs[number]} is given twice; each run must be another"
            )
    for count in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["-".join(path.parts[-count:]).replace("/", "") for path in paths]
        if len(set(names)) == len(names):
            return names
    raise ConfigError(f"RUN_DIRs {' '.join(run_dirs)} cannot be told apart by their names")


def refuse_unable(name: str, analyses: Sequence[str], lacking: Mapping[str, str]) -> None:
    """Raise ConfigError if an analysis was asked for that a run lacks something for.

    ``lacking`` says what, by analysis.
    """
    if needing := [analysis for analysis in analyses if analysis in lacking]:
        able = ",".join(analysis for analysis in ANALYSES if analysis not in lacking)
        raise ConfigError(
            f"--analyses is {','.join(analyses)!r}, but {needing[0]} needs {lacking[needing[0]]}, "
            f"which {name} lacks; for it use --analyses {able}"
        )


def note_unable(name: str, lacking: Mapping[str, str]) -> str:
    """One sentence on the analyses that a run has no part in.

    Example:
        >>> note_unable("plain", {"separability": "exits", "early_exit": "exits", "jacobian": "teachers"})
        'plain has no part in separability and early_exit, for want of exits; jacobian, for want of teachers'
    """
    parts = [
        f"{' and '.join(a for a in lacking if lacking[a] == need)}, for want of {need}"
        for need in dict.fromkeys(lacking.values())
    ]
    return f"{name} has no part in {'; '.join(parts)}"
