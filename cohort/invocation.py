"""How this process was called, and so how its user calls a command: for messages and ``--help``."""

import shlex
import shutil
import sys
from pathlib import Path

SCRIPTS = {
    "train": "launch_cohort.py",
    "self-distill": "self_distill.py",
    "ods-distill": "ods_distill.py",
    "sweep": "sweep.py",
    "evaluate": "evaluate.py",
    "analyse": "analyse.py",
    "report": "report.py",
    "export": "export.py",
    "share": "share.py",
    "bench exchange": "bench_cohort.py",
    "bench self-distill": "bench_self_distill.py",
    "bench ods": "bench_ods.py",
    "bench feed": "bench_feed.py",
    "bench against": "bench_against.py",
    "bench step": "bench_step.py",
}
"""The script in ``scripts/`` of a checkout that runs a command."""
PACKAGE = Path(__file__).resolve().parent


def command_line(command: str, *arguments: object) -> str:
    """A command as the user of this process types it, quoted for the shell.

    It begins with ``python scripts/launch_cohort.py`` or ``python -m cohort train`` in a process
    that was started so, each with the path and the Python then used; else with ``cohort train``.

    Example:
        >>> command_line("train", "--resume", "my runs/a")
        "cohort train --resume 'my runs/a'"
    """
    return shlex.join([*_program(command), *map(str, arguments)])


def as_argument(path: object) -> str:
    """A path as it can stand behind a flag: one that begins with a dash would be taken for another.

    Example:
        >>> as_argument("-runs/a"), as_argument("runs/a")
        ('./-runs/a', 'runs/a')
    """
    return f"./{path}" if str(path).startswith("-") else str(path)


def _program(command: str) -> list[str]:
    called = Path(sys.argv[0])
    if called.name in SCRIPTS.values() and called.resolve().parent == PACKAGE.parent / "scripts":
        return [sys.orig_argv[0], str(called.with_name(SCRIPTS[command]))]
    if called.resolve() == PACKAGE / "__main__.py":
        return [sys.orig_argv[0], "-m", "cohort", *command.split()]
    elsewhere = called.name == "cohort" and shutil.which("cohort") != sys.argv[0]  # not on the PATH
    return [sys.argv[0] if elsewhere else "cohort", *command.split()]
