"""The house: each room of ``cohort/`` uses those below it, nobody a room above, and nothing in circles.

Imports are read, not run: those in functions and for type checkers count as well.
"""

import ast
import graphlib
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = (
    *(
        "version",
        "errors",
        "seeding",
        "formats",
        "cards",
        "invocation",
        "imports",
        "files",
        "machine",
        "config",
    ),
    *("trust", "metrics", "data", "models", "config_file", "objectives", "learning"),
    *("reporting", "run", "analysis", "runtime", "jobs", "commands"),
    *("tuning", "report", "benchmark", "cli", "__init__", "__main__"),
)
"""From the ground up: the packages and the single files of ``cohort/``."""
KNOW_RAY = ("runtime", "jobs", "tuning")
PRIVATE_RAY = "cohort/runtime/private_ray.py"
"""The one file with what Ray does not promise."""
PRIVATE = re.compile(
    r"ray\._private|\._internal|\b_node_ip_address|\b_temp_dir|was_current_actor_reconstructed"
    r"|get_pickled_error|stub=True|controller_failure_limit|\"(RAY|TUNE)_[A-Z_]+\""
)


class Import(NamedTuple):
    """A line of a file that imports a module."""

    file: str
    line: int
    module: str
    """Dotted; a file of the house where there is one of that name."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def files(root: Path) -> dict[str, Path]:
    """The files of the house by the name under which they are imported."""
    found = sorted((root / "cohort").rglob("*.py"))
    parts = {path: path.relative_to(root).with_suffix("").parts for path in found}
    return {".".join(p[:-1] if p[-1] == "__init__" else p): path for path, p in parts.items()}


def imports(root: Path) -> list[Import]:
    """All imports of all files."""
    known = files(root)
    return [
        Import(str(path.relative_to(root)), node.lineno, module)
        for path in known.values()
        for node in ast.walk(ast.parse(path.read_text()))
        for module in modules(node, known)
    ]


def modules(node: ast.AST, known: dict[str, Path]) -> Iterator[str]:
    """The modules that a piece of a file imports."""
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names)
    if isinstance(node, ast.ImportFrom):
        assert node.module is not None, "imports are written from the root"
        for name in node.names:
            module = f"{node.module}.{name.name}"
            yield module if module in known else node.module


def room(module: str) -> str:
    """Where a module of the house stands."""
    return module.split(".")[1] if "." in module else "__init__"


def room_of(file: str) -> str:
    """Where a file of the house stands."""
    return Path(file).parts[1].removesuffix(".py")


def of_the_house(found: list[Import]) -> list[Import]:
    return [each for each in found if each.module.split(".")[0] == "cohort"]


def upward(root: Path) -> list[Import]:
    """Imports from a room that is not below the importing one."""
    return [
        each
        for each in of_the_house(imports(root))
        if ROOMS.index(room(each.module)) > ROOMS.index(room_of(each.file))
    ]


def circles(root: Path) -> list[str]:
    """Chains of files that import one another, each once."""
    names = {str(path.relative_to(root)): name for name, path in files(root).items()}
    graph: dict[str, dict[str, Import]] = {name: {} for name in names.values()}
    for each in of_the_house(imports(root)):
        graph[names[each.file]].setdefault(each.module, each)
    found = []
    while True:
        try:
            graphlib.TopologicalSorter(graph).prepare()
            return found
        except graphlib.CycleError as error:
            chain = error.args[1][::-1]  # each imports the next one
            found.append("; ".join(str(graph[a][b]) for a, b in pairwise(chain)))
            del graph[chain[0]][chain[1]]


def said(found: list) -> str:
    return "\n" + "\n".join(map(str, found))


def test_every_room_is_known():
    there = {room_of(str(path.relative_to(ROOT))) for path in files(ROOT).values()}
    assert there <= set(ROOMS), f"which floor are {there - set(ROOMS)} on?"


def test_the_arrow_points_down():
    found = list(dict.fromkeys(upward(ROOT)))
    assert not found, said(found)


def test_no_files_import_each_other_in_circles():
    found = circles(ROOT)
    assert not found, said(found)


def test_who_knows_ray():
    found = [
        each
        for each in imports(ROOT)
        if each.module.split(".")[0] == "ray" and room_of(each.file) not in KNOW_RAY
    ]
    assert not found, said(found)


def test_what_ray_does_not_promise_stands_in_one_file():
    found = [
        f"{path.relative_to(ROOT)}:{number} has {match[0]}"
        for path in files(ROOT).values()
        if path != ROOT / PRIVATE_RAY
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (match := PRIVATE.search(line))
    ]
    assert not found, said(found)
    assert PRIVATE.search((ROOT / PRIVATE_RAY).read_text())


HOUSE = {
    "errors.py": "",
    "data/__init__.py": "",
    "data/source.py": "def read():\n    from cohort.runtime import train\n",
    "runtime/__init__.py": "from cohort.errors import ConfigError\n",
    "runtime/train.py": "import torch\nif TYPE_CHECKING:\n    import cohort.runtime.loop\n",
    "runtime/loop.py": "from cohort.runtime.train import step\nfrom cohort import errors\n",
}


@pytest.fixture
def house(tmp_path):
    for name, text in HOUSE.items():
        file = tmp_path / "cohort" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def test_this_test_sees_upward_arrows_and_circles(house):
    assert [str(each) for each in upward(house)] == [
        "cohort/data/source.py:2 imports cohort.runtime.train"
    ]
    (found,) = circles(house)
    assert set(found.split("; ")) == {
        "cohort/runtime/loop.py:1 imports cohort.runtime.train",
        "cohort/runtime/train.py:3 imports cohort.runtime.loop",
    }
