"""The two ways in which a run ends badly, told apart by whose turn it is to act, and exit codes."""

import difflib
from collections.abc import Iterable

SUCCESS, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes of commands: a ConfigError is USAGE, a RunError is FAILED, a signal is INTERRUPTED."""


class ConfigError(ValueError):
    """The user asked for something that cannot be done: one sentence, exit code 2.

    The message names the flag, key or file, the value given, and what is allowed.
    """


class RunError(RuntimeError):
    """The run itself failed after it had begun: one sentence, exit code 1."""


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The question after the closest of ``names``, for a message; empty if none is close.

    Example:
        >>> did_you_mean("resnet31", ["resnet20", "resnet32"])
        "did you mean 'resnet32'?"
    """
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else ""
