"""The two ways in which a run ends badly, told apart by whose turn it is to act, and exit codes."""

import difflib
from collections.abc import Iterable
from decimal import Decimal

SUCCESS, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes of commands: a ConfigError is USAGE, a RunError is FAILED, a signal is INTERRUPTED."""

LONGEST_NUMBER, LONGEST_VALUE = 40, 120
"""Digits of a number, and characters of any other value, that a sentence has room for."""


class ConfigError(ValueError):
    """The user asked for something that cannot be done: one sentence, exit code 2.

    The message names the flag, key or file, the value given, and what is allowed.
    """


class RunError(RuntimeError):
    """The run itself failed after it had begun: one sentence, exit code 1."""


def brief(value: object) -> str:
    """A value as it stands in a sentence: as Python writes it, but never longer than a line.

    Example:
        >>> brief("resnet20"), brief(10**399)
        ("'resnet20'", 'a number of 400 digits')
    """
    if isinstance(value, int) and abs(value) > 10**LONGEST_NUMBER:
        return f"a number of {Decimal(value).adjusted() + 1} digits"
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The question after the closest of ``names``, for a message; empty if none is close.

    Example:
        >>> did_you_mean("resnet31", ["resnet20", "resnet32"])
        "did you mean 'resnet32'?"
    """
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else ""
