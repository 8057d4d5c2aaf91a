"""The folder of a study: what lies where, and what was decided, line by line. No torch, no ray.

``study.yaml``, ``trials/<name>/``, ``runs/<name>/``, ``decisions.jsonl``, ``suggestions.jsonl``,
``trials.csv``, ``trials.parquet``, ``summary.csv``, ``figure.svg``, ``figure.png``.
"""

import os
from pathlib import Path
from typing import Any, Literal, Self

from cohort.errors import ConfigError
from cohort.files import to_json
from cohort.reporting.records import read_metrics
from cohort.run.folder import check_writable, is_occupied, make_folder
from cohort.tuning.space import Point
from cohort.tuning.trials import TrialSpec

Decision = Literal["stopped", "failed"]


class StudyFolder:
    """Paths in the folder of one study, and its records.

    Example:
        >>> StudyFolder("studies/minima").figure.as_posix()
        'studies/minima/figure'
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, path: Path | str, text: str) -> Self:
        """The folder of a new study, made if need be, with ``text`` as its study.yaml.

        Raises:
            ConfigError: if it holds anything already, or cannot be made.
        """
        folder = cls(path)
        folder.check_free()
        # The first file of all: from here on there is a study to go on with, however this ends.
        make_folder(folder.study, text, "--study-dir", "study")
        return folder

    def check_free(self) -> None:
        """Raise ConfigError if a new study cannot be put here; nothing is left behind."""
        if self.study.is_file():
            raise ConfigError(
                f"--study-dir {self.path} already holds a study; go on with it by --resume, or name "
                "another folder"
            )
        if is_occupied(self.path):
            raise ConfigError(
                f"--study-dir {self.path} already holds something; name a folder that is new or empty"
            )
        check_writable(self.path, "--study-dir")

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """The folder of a study that was started before.

        Raises:
            ConfigError: if there is no study.
        """
        folder = cls(path)
        if not folder.study.is_file():
            raise ConfigError(
                f"--study-dir {path} is not the folder of a study: it has no study.yaml; "
                "start one without --resume"
            )
        return folder

    @property
    def study(self) -> Path:
        """The study as it was started; ``load_study`` reads it."""
        return self.path / "study.yaml"

    @property
    def trials(self) -> Path:
        """Folder of the trials' run folders."""
        return self.path / "trials"

    @property
    def runs(self) -> Path:
        """Folder of the prepared runs' run folders."""
        return self.path / "runs"

    @property
    def decisions_file(self) -> Path:
        """Why trials stopped or failed; see ``record_decision``."""
        return self.path / "decisions.jsonl"

    @property
    def suggestions_file(self) -> Path:
        """Points in the order in which a search suggested them."""
        return self.path / "suggestions.jsonl"

    @property
    def table_csv(self) -> Path:
        """The table of trials."""
        return self.path / "trials.csv"

    @property
    def table_parquet(self) -> Path:
        """The table of trials with the types of its columns."""
        return self.path / "trials.parquet"

    @property
    def summary_csv(self) -> Path:
        """A row for each point."""
        return self.path / "summary.csv"

    @property
    def figure(self) -> Path:
        """The figure's path without .svg or .png."""
        return self.path / "figure"

    def trial(self, spec: TrialSpec) -> Path:
        """Run folder of a trial."""
        return self.trials / spec.name

    def run(self, spec: TrialSpec) -> Path:
        """Run folder of a prepared run."""
        return self.runs / spec.name

    def record_decision(self, trial: str, kind: Decision, **details: Any) -> None:
        """Put down what became of a trial; on disk when this returns."""
        append_line(self.decisions_file, {"trial": trial, "kind": kind, **details})

    def decisions(self) -> list[dict[str, Any]]:
        """All decisions, oldest first: ``trial``, ``kind`` and details."""
        return read_lines(self.decisions_file)

    def failures(self) -> dict[str, str]:
        """Why trials failed the last time that they did, by name."""
        failed = (each for each in self.decisions() if each["kind"] == "failed")
        return {each["trial"]: each["reason"] for each in failed}

    def record_suggestion(self, point: Point) -> None:
        """Put down a point; on disk when this returns."""
        line = {"labels": dict(point.labels), "values": dict(point.values)}
        append_line(self.suggestions_file, line)

    def suggestions(self) -> list[Point]:
        """All suggested points, oldest first."""
        return [Point(**line) for line in read_lines(self.suggestions_file)]


def default_path(name: str) -> Path:
    """Where the study of this name lies when nobody says otherwise."""
    return Path("studies") / name


def append_line(path: Path, values: dict[str, Any]) -> None:
    """Append a JSON object as one line, on disk when this returns; a torn line before it is cut."""
    with path.open("ab+") as file:
        file.truncate(_whole(path))
        file.write(to_json(values).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of lines, without a torn last one; none if there is no file.

    Raises:
        ConfigError: if another line is not a JSON object.
    """
    return list(read_metrics(path)) if path.exists() else []


def _whole(path: Path) -> int:
    """Bytes up to the end of the last whole line."""
    return path.read_bytes().rfind(b"\n") + 1
