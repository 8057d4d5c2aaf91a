"""From flags and YAML to a config.

One field of a config is one flag and one YAML key; both are checked by the same validation, and an
error names the flag or the file and key. Flags override the file.
"""

import argparse
import dataclasses
import inspect
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeVar

import docstring_parser

from cohort.config import DataConfig, RunConfig, TrainingConfig, flag
from cohort.config_file import read_config, validate
from cohort.errors import ConfigError
from cohort.invocation import command_line
from cohort.trust import refuse_keys

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")

GROUPS: Mapping[type, str] = {DataConfig: "data", TrainingConfig: "training", RunConfig: "run"}
"""The part of ``--help`` in which the fields that a class declares stand."""
CLUSTER = (
    "workers",
    "gpus",
    "threads",
    "address",
    "exchange",
    "on_failure",
    "max_failures",
    "batch_norm",
)
"""Fields that stand in a part of their own, whichever class declares them."""

COMMAND_NAMED = re.compile(r"`cohort ([a-z-]+)")
"""A command in the help of a field, which is shown as the user calls it."""


@dataclass(frozen=True)
class Arguments(Generic[Config]):
    """What a command line asked for."""

    config: Config
    given: Mapping[str, Any]
    """The keys that were given as flags, with their values."""
    resume: str | None


class Parser(argparse.ArgumentParser):
    """Raises ConfigError, one sentence, where argparse would print its usage.

    ``--help`` names ``command`` as the user called it, and ends with it and ``example``, its flags.
    """

    def __init__(self, command: str, description: str | None, example: str, **options: Any) -> None:
        super().__init__(
            prog=command_line(command),
            description=description,
            epilog=f"example:\n  %(prog)s {example}",
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **options,
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does it, but a value of no characters is refused, as of an unset variable."""
        found, rest = super().parse_known_args(args, namespace)
        for action in self._actions:
            given = getattr(found, action.dest, None)
            if "" in (given if isinstance(given, list) else [given]):
                name = next(iter(action.option_strings), action.metavar)
                raise ConfigError(f"{name} is ''; it must not be empty")
        return found, rest

    def error(self, message: str) -> NoReturn:
        """Called by argparse with its own sentence."""
        raise ConfigError(f"{message}; see --help")


def parse(
    cls: type[Config],
    description: str | None,
    argv: Sequence[str] | None = None,
    *,
    command: str = "train",
    title: str = "cohort",
    example: str = "",
    trains: bool = True,
) -> Arguments[Config]:
    """Read flags into a config of class ``cls``. Raises ConfigError; ``--help`` prints and exits.

    ``trains``: the command writes a run folder, so it has --config and --resume. In ``--help`` the
    fields that are a command's own stand under ``title``.
    """
    parser = Parser(
        command,
        description,
        example,
        argument_default=argparse.SUPPRESS,
        usage="%(prog)s [--FLAG VALUE ...]",
    )
    _add_flags(parser, cls, title, trains)
    options = vars(parser.parse_args(argv))
    file, resume = options.pop("config", None), options.pop("resume", None)
    if file is not None and resume is not None:
        raise ConfigError("--config cannot go with --resume, which has the config of its run")
    values = {} if file is None else read_config(file)
    if issubclass(cls, RunConfig):
        values = cls.of_earlier(values, file)
    refuse_keys(values, file, options)
    given = validate({**values, **options}, cls, {key: flag(key) for key in options}, file)
    return Arguments(given, {key: getattr(given, key) for key in options}, resume)


def _add_flags(parser: Parser, cls: type["DataclassInstance"], title: str, trains: bool) -> None:
    helps, types = field_helps(cls), typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for part in (title, *GROUPS.values(), "cluster"):
        group = parser.add_argument_group(part)
        for name, field in fields.items():
            if _part(cls, name, title) != part:
                continue
            add_flag(group, field, types[name], helps[name])
        if trains and part == "run":
            _add_run_flags(group)


def add_flag(
    group: argparse._ActionsContainer, field: "dataclasses.Field[Any]", hint: Any, text: str
) -> None:
    """Add the flag of one field of a config, whose type is ``hint``."""
    text = text.replace("%", "%%")
    if hint is bool:
        group.add_argument(flag(field.name), action=argparse.BooleanOptionalAction, help=text)
        return
    if field.default is not None:
        default = field.default if isinstance(field.default, tuple) else (field.default,)
        text += f" Default: {','.join(map(str, default))}."
    group.add_argument(flag(field.name), metavar=_metavar(hint), help=text)


def _part(cls: type, name: str, title: str) -> str:
    """The part of ``--help`` in which a field stands: its first class's, the cluster's, or ``title``."""
    if name in CLUSTER:
        return "cluster"
    declaring = next(c for c in reversed(cls.__mro__) if name in inspect.get_annotations(c))
    return GROUPS.get(declaring, title)


def _add_run_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--config", metavar="FILE", help="YAML file of these keys; flags override it."
    )
    group.add_argument(
        "--resume",
        metavar="DIR",
        help="Continue the run in this folder, or at this URI; other flags may only extend it.",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add the flag by which a command that reads what others may have written trusts it."""
    parser.add_argument(
        "--trust-code",
        action="store_true",
        help="Run the code that files name, networks and data sets as package.module:function. Default: "
        "refuse them, for files may come from anywhere.",
    )


def field_helps(cls: type) -> dict[str, str]:
    """The text under each field of a config class, which is its flag's help."""
    helps: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        for param in docstring_parser.parse_from_object(base).params:
            helps[param.arg_name] = " ".join((param.description or "").split())
    return {
        name: COMMAND_NAMED.sub(lambda m: f"`{command_line(m[1])}", text)
        for name, text in helps.items()
    }


def _metavar(hint: Any) -> str:
    options = [option for option in typing.get_args(hint) or (hint,) if option is not type(None)]
    for option in (hint, *options):
        if typing.get_origin(option) is Literal:
            return "{" + ",".join(typing.get_args(option)) + "}"
    if options[0] in (int, float):
        return "N" if options[0] is int else "X"
    return "NAME" if len(options) > 1 else "TEXT"
