"""From flags and YAML to a config, and from the end of a run to an exit code.

One field of a config is one flag and one YAML key; both are checked by the same validation, and an
error names the flag or the file and key. Flags override the file.
"""

import argparse
import dataclasses
import errno
import logging
import signal
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeVar

import docstring_parser

from cohort.config import flag
from cohort.config_file import read_config, validate
from cohort.errors import ConfigError, RunError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")

SUCCESS, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True)
class Arguments(Generic[Config]):
    """What a command line asked for."""

    config: Config
    given: Mapping[str, Any]
    """The keys that were given as flags, with their values."""
    resume: str | None


class Parser(argparse.ArgumentParser):
    """Raises ConfigError, one sentence, where argparse would print its usage."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse with its own sentence."""
        raise ConfigError(f"{message}; see --help")


def parse(
    cls: type[Config], description: str, argv: Sequence[str] | None = None, *, trains: bool = True
) -> Arguments[Config]:
    """Read flags into a config of class ``cls``. Raises ConfigError; ``--help`` prints and exits.

    ``trains``: the command writes a run folder, so it has --config and --resume.
    """
    options = vars(_parser(cls, description, trains).parse_args(argv))
    file, resume = options.pop("config", None), options.pop("resume", None)
    if file and resume:
        raise ConfigError("--config cannot go with --resume, which has the config of its run")
    values = read_config(file) if file else {}
    given = validate({**values, **options}, cls, {key: flag(key) for key in options}, file)
    return Arguments(given, {key: getattr(given, key) for key in options}, resume)


def run_command(command: Callable[[], int]) -> NoReturn:
    """Run a command and exit: 0 success, 1 the run failed, 2 wrong usage, 130 interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, until a run listens
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        code = command()
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        code = USAGE
    except RunError as error:
        print(f"failed: {error}", file=sys.stderr)
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


def _parser(cls: type["DataclassInstance"], description: str, trains: bool) -> Parser:
    parser = Parser(
        description=description,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    helps, types = _field_helps(cls), typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        text = helps[field.name].replace("%", "%%")
        if field.default is not None and types[field.name] is not bool:
            text += f" Default: {field.default}."
        if types[field.name] is bool:
            parser.add_argument(flag(field.name), action=argparse.BooleanOptionalAction, help=text)
        else:
            parser.add_argument(flag(field.name), metavar=_metavar(types[field.name]), help=text)
    if trains:
        _add_run_flags(parser)
    return parser


def _add_run_flags(parser: Parser) -> None:
    parser.add_argument(
        "--config", metavar="FILE", help="YAML file of these keys; flags override it."
    )
    parser.add_argument(
        "--resume",
        metavar="DIR",
        help="Continue the run in this folder; other flags may only extend it.",
    )


def _field_helps(cls: type) -> dict[str, str]:
    helps: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        for param in docstring_parser.parse_from_object(base).params:
            helps[param.arg_name] = " ".join((param.description or "").split())
    return helps


def _metavar(hint: Any) -> str:
    options = [option for option in typing.get_args(hint) or (hint,) if option is not type(None)]
    for option in (hint, *options):
        if typing.get_origin(option) is Literal:
            return "{" + ",".join(typing.get_args(option)) + "}"
    if options[0] in (int, float):
        return "N" if options[0] is int else "X"
    return "NAME" if len(options) > 1 else "TEXT"
