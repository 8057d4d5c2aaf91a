"""The command ``cohort``: its subcommands, and how whatever they raise becomes an exit code."""

import argparse
import difflib
import errno
import logging
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from cohort.cli import bench, training
from cohort.cli.analyse import analyse
from cohort.cli.evaluate import evaluate
from cohort.cli.export import export
from cohort.cli.parser import Parser
from cohort.cli.report import report
from cohort.cli.share import share
from cohort.cli.sweep import sweep
from cohort.cli.terminal import forgive
from cohort.errors import FAILED, INTERRUPTED, USAGE, ConfigError, RunError
from cohort.invocation import command_line
from cohort.run.interruption import heeded
from cohort.version import __version__

COMMANDS: Mapping[str, Callable[[Sequence[str]], int]] = {
    "train": training.train,
    "self-distill": training.self_distill,
    "ods-distill": training.ods_distill,
    "sweep": sweep,
    "evaluate": evaluate,
    "analyse": analyse,
    "report": report,
    "export": export,
    "share": share,
    "bench exchange": bench.exchange,
    "bench self-distill": bench.self_distill,
    "bench ods": bench.ods,
    "bench feed": bench.feed,
    "bench against": bench.against,
    "bench step": bench.step,
}
"""From the words after ``cohort`` to what takes the flags behind them and returns an exit code."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command that ``argv``, by default the process's own arguments, names, and exit."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    run_command(lambda: _dispatch(arguments))


def run_command(command: Callable[[], int]) -> NoReturn:
    """Run a command and exit: 0 success, 1 the run failed, 2 wrong usage, 130 interrupted."""
    forgive()
    for number in heeded():
        signal.signal(number, signal.default_int_handler)  # as Ctrl-C, until a run listens
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        code = command()
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        code = USAGE
    except RunError as error:
        print(f"failed: {error}", *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        code = FAILED
    except OSError as error:
        # A path that the user named; even to ask whether something is there may raise these.
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG):
            raise
        print(f"error: {error.filename} cannot be used: {error.strerror}", file=sys.stderr)
        code = USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    sys.stdout.flush()
    sys.exit(code)


def _dispatch(arguments: Sequence[str]) -> int:
    for name, command in COMMANDS.items():
        words = name.split()
        if arguments[: len(words)] == words:
            return command(arguments[len(words) :])
    given, _ = _overview().parse_known_args(arguments)  # which prints help and version, and exits
    raise ConfigError(_no_command(given.command))


def _overview() -> Parser:
    lines = [f"  {name:<20}{command.__doc__}" for name, command in COMMANDS.items()]
    parser = Parser(
        "",
        "Train cohorts of neural networks that teach each other, on Ray.\n\ncommands:\n"
        + "\n".join(lines),
        "train --k 2 --baseline",
        usage="%(prog)s COMMAND [--FLAG VALUE ...]",
    )
    parser.add_argument("--version", action="version", version=f"cohort {__version__}")
    parser.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    return parser


def _no_command(word: str | None) -> str:
    """One sentence that says which commands there are, or which was meant."""
    see = f"see {command_line('', '--help')}"
    if word is None:
        return f"a command is missing; it must be one of {', '.join(COMMANDS)}; {see}"
    near = difflib.get_close_matches(word, {name.split()[0] for name in COMMANDS}, n=1)
    if meant := [name for name in COMMANDS if name.split()[0] in near]:
        return f"there is no command {word!r}; did you mean {' or '.join(map(repr, meant))}? {see}"
    return f"there is no command {word!r}; it must be one of {', '.join(COMMANDS)}; {see}"
