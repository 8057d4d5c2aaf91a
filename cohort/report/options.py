"""What ``cohort report`` is asked for."""

from dataclasses import dataclass
from pathlib import Path

from cohort.errors import ConfigError
from cohort.files import is_uri, refuse_uri
from cohort.run.folder import check_writable


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
        check_writable(Path(self.output).absolute().parent, "--output")
        for flag, place in (("--figures", self.figures), ("--tables", self.tables)):
            if place is not None:
                check_writable(Path(place).absolute(), flag)
        paths = [name if is_uri(name) else str(Path(name).resolve()) for name in self.folders]
        for number, path in enumerate(paths):
            if path in paths[:number]:
                raise ConfigError(f"{self.folders[number]} is given twice; each must be another")
