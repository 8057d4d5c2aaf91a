"""Code that a file names is not run unless the user trusts it: files may come from anywhere.

A model.json, a config.yaml, a study may name networks and data sets by ``package.module:function``, and to
use one of these is to run it. What the user passes or types himself is his own, and so are the
names of this package, torchvision and timm, which mean no other code.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from cohort.config import flag
from cohort.errors import ConfigError, brief

NETWORKS = ("students", "model")
KEYS = ("dataset", *NETWORKS)
"""Keys of configs that may name code."""
TRUST = "trust_code"
"""The key that trusts all of it, which no file can have."""
TIMM = "timm:"
"""Before the names of timm's networks."""


def refuse_code(file: object, code: str, trust: bool, *, instead: str) -> None:
    """Raise ConfigError for code that a file names, unless it is trusted.

    ``instead`` says how the user can name it himself.
    """
    if not trust:
        raise ConfigError(
            f"{file} names {brief(code)}, code that runs as soon as it is used; if you trust it, add "
            f"--trust-code (in Python, trust_code=True), or {instead}"
        )


def refuse_keys(values: Mapping[str, Any], file: object, given: Mapping[str, Any]) -> None:
    """Raise ConfigError for the values of a config's file that name code, unless it is trusted.

    ``given`` are the keys that the user gives himself instead, ``trust_code`` among them if he says it.
    """
    for key in KEYS:
        for code in () if key in given else code_in(key, values.get(key)):
            refuse_code(file, code, given.get(TRUST, False), instead=f"give {flag(key)} yourself")


def names_code(values: Mapping[str, Any]) -> bool:
    """Whether keys and values of a config, as they stand in its file, name code."""
    return any(True for key in KEYS for _ in code_in(key, values.get(key)))


def code_in(key: str, value: Any) -> Iterator[str]:
    """The functions that the value of a config's key names, each ``package.module:function``.

    Example:
        >>> list(code_in("students", "resnet8, timm:vgg11, mine:net+exits=a/b"))
        ['mine:net']
    """
    if isinstance(value, list | tuple):
        for item in value:
            yield from code_in(key, item)
    elif isinstance(value, str) and key in NETWORKS:
        yield from (code for name in value.split(",") if (code := code_of(name)))
    elif isinstance(value, str) and ":" in value:
        yield value


def code_below(value: Any) -> Iterator[str]:
    """The functions named under such a key anywhere in a study, in the lists of an axis too."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in KEYS:
                lists = item.values() if isinstance(item, Mapping) else [item]
                yield from (code for each in lists for code in code_in(key, each))
            yield from code_below(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from code_below(item)


def code_of(network: str) -> str | None:
    """The function that a network's written name is of; None for a name of ours, torchvision's or timm's.

    Example:
        >>> code_of("mine:net+members=4"), code_of("resnet8+exits"), code_of("timm:vgg11")
        ('mine:net', None, None)
    """
    name = network.partition("+")[0].strip()
    return name if ":" in name and not name.startswith(TIMM) else None
