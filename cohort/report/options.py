"""What ``cohort report`` is asked for."""

from dataclasses import dataclass
from pathlib import Path

from cohort.errors import ConfigError
from cohort.files import is_uri, refuse_uri
from cohort.report.reading import INDEX, is_run
from cohort.run.folder import RunFolder, check_writable
from cohort.tuning.folder import StudyFolder

MADE = b'<meta name="generator" content="cohort '
"""What each page has near its beginning."""
HEAD = 1024
"""Bytes of a page in which that stands."""


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Which runs and studies, and where the page goes. Raises ConfigError, naming the flag."""

    folders: tuple[str, ...]
    """Of runs, or their URIs, and of studies."""
    output: str = "report.html"
    """The page."""
    figures: str | None = None
    """A folder for its figures."""
    tables: str | None = None
    """A folder for its tables."""
    against: str | None = None
    """The run that others are compared with."""
    watch: bool = False
    """Whether the page is written again while runs go on."""

    def __post_init__(self) -> None:
        for flag, place in (
            ("--output", self.output),
            ("--figures", self.figures),
            ("--tables", self.tables),
        ):
            if place is not None:
                refuse_uri(place, flag)
        if Path(self.output).is_dir():
            raise ConfigError(
                f"--output is {self.output!r}, a folder; it must be a file, such as "
                f"{Path(self.output) / 'report.html'}"
            )
        _check_page(Path(self.output))
        check_writable(Path(self.output).absolute().parent, "--output")
        for flag, place in (("--figures", self.figures), ("--tables", self.tables)):
            if place is not None:
                _check_folder(Path(place), flag)
                check_writable(Path(place).absolute(), flag)
        paths = [name if is_uri(name) else str(Path(name).resolve()) for name in self.folders]
        for number, path in enumerate(paths):
            if path in paths[:number]:
                raise ConfigError(f"{self.folders[number]} is given twice; each must be another")


def _check_page(output: Path) -> None:
    """Raise ConfigError if the page would take the place of a file that is no page of ours."""
    if not output.exists():
        return
    try:
        with output.open("rb") as file:
            ours = MADE in file.read(HEAD)
    except OSError as error:
        raise ConfigError(f"--output {output} cannot be read: {error.strerror}") from error
    if not ours:
        raise ConfigError(
            f"--output {output} exists already, and is no page that this command wrote; name a new file"
        )


def _check_folder(folder: Path, flag: str) -> None:
    """Raise ConfigError for a folder whose own files have names that figures or tables may have."""
    kinds = {
        "a run": is_run(RunFolder(folder)),
        "a study": StudyFolder(folder).study.is_file(),
        "analyses": (folder / INDEX).is_file(),
    }
    if found := [what for what, is_there in kinds.items() if is_there]:
        raise ConfigError(
            f"{flag} is {str(folder)!r}, which holds {found[0]}, whose files could be written over; name a "
            f"folder of its own, such as {folder / flag[2:]}"
        )
