"""The two ways in which a run ends badly, told apart by whose turn it is to act, and exit codes."""

SUCCESS, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes of commands: a ConfigError is USAGE, a RunError is FAILED, a signal is INTERRUPTED."""


class ConfigError(ValueError):
    """The user asked for something that cannot be done: one sentence, exit code 2.

    The message names the flag, key or file, the value given, and what is allowed.
    """


class RunError(RuntimeError):
    """The run itself failed after it had begun: one sentence, exit code 1."""
