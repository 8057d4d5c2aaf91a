"""What ``cohort analyse`` is asked for. Imports no torch, so that ``--help`` is fast."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from cohort.config import OdsNorm, flag, not_negative, positive
from cohort.errors import ConfigError
from cohort.files import is_uri, refuse_uri

ANALYSES = (
    *("noise", "posterior", "gradients", "separability", "early_exit", "agreement", "reliability"),
    *("diversity", "transfer", "jacobian", "ranking"),
)
BESIDE = "analysis"
"""Folder of the analyses of one run, in its own."""
EXITS = "a student with exits"
SCATTER = "two test images"
PAIR = "two students, or a student with two members"
KNOWN = "test images of the classes that are learned"
TRIO = "three students, or a student with three members"
SEARCH = "test images in which people are looked for"
TOLD = "a cohort's records of how alike its students are"
OF_GRADIENTS = ("alpha", "hint_weight", "temperature")
"""Options that only analyse's gradients have, and only those of students with exits."""
OF_INPUTS = ("eta", "tau", "norm")
"""Options that only the analyses of perturbed inputs have."""


@dataclass(frozen=True, kw_only=True)
class AnalyseOptions:
    """Which runs, which analyses, and how thorough. Raises ConfigError, naming the flag."""

    runs: tuple[str, ...]
    """Folders of finished runs, or their URIs."""
    output: str | None = None
    """Where figures, tables and their index.json are written. Default: RUN_DIR/analysis, if there is one
    RUN_DIR; needed for several."""
    data_root: str | None = None
    """Where the data lie now. Default: as then."""
    analyses: tuple[str, ...] | None = None
    """Of noise, posterior, gradients, separability, early_exit, agreement, reliability, diversity, transfer,
    jacobian, ranking, with commas between. Default: all that a run allows: separability and early_exit need
    exits, agreement a cohort's records, diversity two students or members, transfer three, jacobian the
    teachers of a run of `cohort ods-distill`, ranking people that are looked for, whom separability,
    early_exit, agreement, reliability and diversity cannot do with."""
    sigmas: tuple[float, ...] = (0, 0.002, 0.005, 0.01, 0.02, 0.05)
    """Standard deviations of the weight noise, with commas between."""
    relative: bool = False
    """Sigmas are fractions of each weight tensor's root mean square."""
    draws: int = 5
    """Random noises per sigma, and random projections per image of the Jacobians."""
    alpha: float | None = None
    """Weight of the deepest exit's posterior in the gradients of self-distillation. Default: the run's own,
    else 0.3."""
    hint_weight: float | None = None
    """Weight of the distance between features in them. Default: the run's own, else the paper's."""
    temperature: float | None = None
    """T that softens both posteriors in them. Default: the run's own, else 3."""
    eta: float | None = None
    """Step size of perturbed inputs, in 1/255 of the pixels' range. Default: the run's own, else 1."""
    tau: float | None = None
    """Temperature of the posterior along whose gradient inputs are moved. Default: the run's own, else 1."""
    norm: OdsNorm | None = None
    """What is 1 of an ODS step of eta 1: its root mean square over the pixels (rms), or its length (l2).
    Default: the run's own, else rms."""
    examples: int = 1000
    """Images of a split that an analysis looks at, chosen at random; reliability and ranking look at all."""
    trust_code: bool = False
    """Run the code that files name, networks and data sets as package.module:function. Default: refuse
    them, for files may come from anywhere."""

    def __post_init__(self) -> None:
        self._check_output()
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
        for key, least in (("draws", 1), ("examples", 2)):
            if (value := getattr(self, key)) < least:
                raise ConfigError(f"{flag(key)} is {value}; it must be at least {least}")
        positive(self, "eta", "tau", "temperature")
        not_negative(self, "hint_weight")
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise ConfigError(f"--alpha is {self.alpha:g}; it must be from 0 to 1")
        if self.norm not in (None, *get_args(OdsNorm)):
            raise ConfigError(
                f"--norm is {self.norm!r}; it must be one of {', '.join(get_args(OdsNorm))}"
            )

    @property
    def folder(self) -> Path:
        """Where figures and tables are written."""
        return Path(self.output) if self.output is not None else Path(self.runs[0], BESIDE)

    def _check_output(self) -> None:
        if self.output is not None:
            return refuse_uri(self.output, "--output")
        if len(self.runs) > 1:
            raise ConfigError(
                f"--output is missing: {len(self.runs)} runs are analysed together, in a folder that is "
                f"none of theirs; name it, or analyse one run into RUN_DIR/{BESIDE}"
            )
        if is_uri(self.runs[0]):
            raise ConfigError(
                f"--output is missing: {self.runs[0]} is on a storage, from which runs are only read; name "
                "a folder on this machine"
            )
        return None


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


def refuse_idle(options: AnalyseOptions, done: Collection[str], *, exits: bool) -> None:
    """Raise ConfigError for an option that none of the analyses that are done would look at.

    ``exits``: whether a student has some.
    """
    of_exits = "gradients of students with exits", "gradients" in done and exits
    of_inputs = "diversity and transfer", not {"diversity", "transfer"}.isdisjoint(done)
    for keys, (what, looked_at) in ((OF_GRADIENTS, of_exits), (OF_INPUTS, of_inputs)):
        if given := [key for key in keys if getattr(options, key) is not None and not looked_at]:
            raise ConfigError(
                f"{flag(given[0])} is {getattr(options, given[0])}, which is for the {what}, and none "
                "are analysed here; leave it out"
            )


def note_unable(name: str, lacking: Mapping[str, str]) -> str:
    """One sentence on the analyses that a run has no part in.

    Example:
        >>> note_unable("plain", {"separability": "exits", "early_exit": "exits", "jacobian": "teachers"})
        'plain has no part in separability and early_exit, for want of exits; jacobian, for want of teachers'
    """
    parts = [
        f"{_listed([a for a in lacking if lacking[a] == need])}, for want of {need}"
        for need in dict.fromkeys(lacking.values())
    ]
    return f"{name} has no part in {'; '.join(parts)}"


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
