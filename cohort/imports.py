"""One's own functions by name: ``package.module:function``."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from functools import reduce
from typing import Any

from cohort.errors import ConfigError


def import_object(spec: str, flag: str) -> Any:
    """What ``package.module:function`` names; the current directory is importable.

    Raises:
        ConfigError: naming ``flag``, if there is no such module or no such name in it.
    """
    module_name, _, attribute = spec.partition(":")
    if not module_name or not attribute or ":" in attribute:
        raise ConfigError(f"{flag} is {spec!r}; it must have the form package.module:function")
    if os.getcwd() not in sys.path:  # absent when started from an installed command
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ConfigError(
            f"{flag} is {spec!r}, but importing {module_name} failed: {one_line(error)}"
        ) from error
    try:
        return reduce(getattr, attribute.split("."), module)
    except AttributeError as error:
        raise ConfigError(
            f"{flag} is {spec!r}, but module {module_name} has no {attribute!r}"
        ) from error


def takes(function: Callable[..., Any], parameter: str) -> bool:
    """Whether a parameter is named so; ``**kwargs`` does not count, it may lead anywhere."""
    try:
        found = inspect.signature(function).parameters.get(parameter)
    except (TypeError, ValueError):  # some built-in callables have no signature
        return False
    return found is not None and found.kind in (found.KEYWORD_ONLY, found.POSITIONAL_OR_KEYWORD)


def import_path(obj: object) -> str | None:
    """``module:qualname`` by which another process can import ``obj``, or None if none can.

    None for a lambda, a local function, an instance, and whatever is defined in ``__main__``.
    """
    module_name = getattr(obj, "__module__", None)
    qualname = getattr(obj, "__qualname__", None)
    if module_name in (None, "__main__") or qualname is None:
        return None
    try:
        found = reduce(getattr, qualname.split("."), sys.modules[module_name])
    except (KeyError, AttributeError):
        return None
    return f"{module_name}:{qualname}" if found is obj else None


def written_name(obj: object) -> str:
    """How a network or a data set is written down: a name as it is, one's own function by its path.

    A function that another process cannot import stands as its name in <brackets>. An object with
    an attribute ``written_name`` says it itself.
    """
    if isinstance(obj, str):
        return obj
    own: str | None = getattr(obj, "written_name", None)
    if own is not None:
        return own
    name: str = getattr(obj, "__name__", type(obj).__name__)
    return import_path(obj) or f"<{name.strip('<>')}>"  # a lambda's name has them already


def one_line(error: BaseException) -> str:
    """The error's type and the first line of its message, to stand inside a sentence."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
