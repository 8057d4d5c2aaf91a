"""What a page consists of: parts about a run, a study or a comparison, and in each of them sections."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from cohort.errors import ConfigError
from cohort.imports import one_line
from cohort.report.tables import Table


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure with what it shows."""

    name: str
    """Its files' without a suffix."""
    title: str
    caption: str = ""
    figure: Figure | None = None
    svg: bytes | None = None
    """Instead, what lies in a folder: shown as it is."""
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Section:
    """Paragraphs, commands, tables and figures under a heading."""

    title: str
    paragraphs: Sequence[str] = ()
    commands: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    folded: Sequence[Table] = ()
    """Tables that are opened by whoever wants them."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing under the heading."""
        return not any((self.paragraphs, self.commands, self.tables, self.pictures, self.folded))


@dataclass(frozen=True, kw_only=True)
class Part:
    """All about one run, study or comparison."""

    name: str
    title: str
    line: str
    """What it is and how it is, in a line."""
    state: str = ""
    """finished, failed, …: shown beside the title."""
    lacking: Sequence[str] = ()
    """A sentence for each thing that is missing."""
    sections: Sequence[Section] = ()


@dataclass
class Builder:
    """Collects the sections of a part; one that cannot be made leaves a sentence instead."""

    lacking: list[str] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)

    def add(self, title: str, make: Callable[[], Section]) -> None:
        """Add what ``make`` returns, if it is not empty."""
        try:
            section = make()
        except ConfigError as error:
            self.lacking.append(f"No {title}: {error}.")
        except Exception as error:  # files may hold anything, and all else is still worth showing
            self.lacking.append(f"No {title}: its numbers are damaged ({one_line(error)}).")
        else:
            if not section.is_empty:
                self.sections.append(section)
