"""Every folder below another, links followed, none read twice."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from cohort.errors import ConfigError


def walk(top: Path, idle: list[Path]) -> Iterator[tuple[str, list[str]]]:
    """Folders and the files in them, but nothing whose name begins with a dot.

    Links are followed last, and no folder is read twice, or where they lead to one another the walk
    would never end, or take more ways than there are files; those not followed are added to ``idle``.
    """
    seen: set[str] = set()
    ways = [top]
    while ways:
        way = ways.pop(0)
        if os.path.realpath(way) in seen or _leads_back(way, top):
            idle.append(way)
            continue
        links: list[Path] = []
        for folder, inner, files in os.walk(way, onerror=refuse):
            real = os.path.realpath(folder)
            seen.add(real)
            shown = [name for name in inner if not hidden(name)]
            links += [Path(folder, name) for name in shown if os.path.islink(f"{folder}/{name}")]
            inner[:] = [name for name in shown if f"{real}/{name}" not in seen]
            yield folder, files
        ways += sorted(links)


def _leads_back(way: Path, top: Path) -> bool:
    """Whether it is a link to a folder by which one came to it from ``top``."""
    if way == top:
        return False
    place = way.resolve()
    came_by = [parent for parent in way.parents if parent == top or top in parent.parents]
    return any(place in (real, *real.parents) for real in map(Path.resolve, came_by))


def hidden(name: str) -> bool:
    """Whether a file or folder is called as those that nobody is shown."""
    return name.startswith(".")


def refuse(error: OSError) -> NoReturn:
    """Raise ConfigError for a folder that cannot be read."""
    raise ConfigError(f"{error.filename} cannot be read: {error.strerror}") from error
