"""What a study's section ``smoke`` makes of the rest."""

from collections.abc import Mapping
from typing import Any

MERGED = {
    ("base",),
    ("runs",),
    ("runs", "*"),
    ("space",),
    ("resources",),
    ("report",),
    ("report", "baseline"),
}
"""Paths at which keys are merged; anything else is replaced whole, such as an axis of the space."""


def with_smoke(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the changes merged over it; null removes a key."""
    return _merged(document, changes, ())


def _merged(
    under: Mapping[str, Any], over: Mapping[str, Any], path: tuple[str, ...]
) -> dict[str, Any]:
    result = dict(under)
    for key, value in over.items():
        below = (*path, "*" if path == ("runs",) else key)
        if value is None:
            result.pop(key, None)
        elif below in MERGED and isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _merged(result[key], value, below)
        else:
            result[key] = value
    return result
