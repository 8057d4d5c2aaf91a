"""One's own networks and data sets, named as ``package.module:function`` on the command line."""

import importlib
import os
import sys
from typing import Any

from cohort.errors import ConfigError


def import_object(spec: str, flag: str) -> Any:  # noqa: ANN401 - it may be anything
    """The object that ``package.module:attribute`` names; the attribute may be nested (``a.b``).

    The current directory is searched too, as it is for ``python -m``, so that a file beside one's
    data can be named without being installed. ``flag`` is named in the error.
    """
    module_name, _, attribute = spec.partition(":")
    if not module_name or not attribute:
        raise ConfigError(f"{flag} is {spec!r}; it must be of the form package.module:function")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # a module of one's own may raise anything while it is imported
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ConfigError(
            f"{flag} is {spec!r}; importing {module_name} failed ({reason})"
        ) from error
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise ConfigError(f"{flag} is {spec!r}; {module_name} has no attribute {attribute}")
        found = getattr(found, name)
    return found
