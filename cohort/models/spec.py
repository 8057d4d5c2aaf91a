"""What stands where a network is named: a name or a factory, plain, with exits, or with members.

Imports no torch, so that ``--help`` is fast.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from cohort.errors import ConfigError
from cohort.imports import import_path, written_name

PlainNetwork = str | Callable[..., Any]
"""A network without exits or members: a name, ``package.module:function``, or a factory."""


@dataclass(frozen=True)
class WithExits:
    """A plain network, and the modules after which it gets exits; None for the network's own choice.

    Stands wherever a network is named, also around one's own factory.

    Example:
        >>> WithExits("resnet20", ("stages.0", "stages.1")).written_name
        'resnet20+exits=stages.0/stages.1'
    """

    network: PlainNetwork
    places: tuple[str, ...] | None = None

    @property
    def written_name(self) -> str:
        """The string that ``parse_spec`` reads again."""
        places = "" if self.places is None else f"={'/'.join(self.places)}"
        return f"{written_name(self.network)}+exits{places}"


MemberInit = Literal["normal", "sign"]
"""How the fast weights r and s start: from N(1, 0.5^2), or as random signs."""
MOST_MEMBERS = 9999


@dataclass(frozen=True)
class WithMembers:
    """A plain network, and how many members share its weights.

    Stands wherever a network is named, also around one's own factory. Raises ConfigError if
    ``members`` is not from 2 to 9999 or the network has exits.

    Example:
        >>> WithMembers("resnet32", 4).written_name
        'resnet32+members=4'
    """

    network: PlainNetwork
    members: int
    init: MemberInit = field(default="normal", kw_only=True)
    """How the fast weights start; not written down, for it is of no use once they are trained."""

    def __post_init__(self) -> None:
        if self.members not in range(2, MOST_MEMBERS + 1):
            raise ConfigError(
                f"members is {self.members!r}; a batch ensemble has from 2 to {MOST_MEMBERS} members"
            )
        if "+" in written_name(self.network):
            raise ConfigError(
                f"network is {self.network!r}; a batch ensemble is made of a plain network, without a +"
            )
        if self.init not in ("normal", "sign"):
            raise ConfigError(f"init is {self.init!r}; it must be normal or sign")

    @property
    def written_name(self) -> str:
        """The string that ``parse_spec`` reads again."""
        return f"{written_name(self.network)}+members={self.members}"


Network = PlainNetwork | WithExits | WithMembers
"""What stands where a network is named."""

WRITTEN = re.compile(
    r"(?P<name>[^+]+)\+(exits(=(?P<places>[^+/]+(/[^+/]+)*))?|members=(?P<members>[1-9][0-9]{0,3}))"
)


def parse_spec(spec: Network, flag: str) -> Network:
    """The WithExits or WithMembers that a string writes down; anything else as it is.

    Raises ConfigError, naming ``flag``, if something else stands after a plus, a place is empty, or
    there are fewer than two members.
    """
    if not isinstance(spec, str) or "+" not in spec:
        return spec
    match = WRITTEN.fullmatch(spec)
    if match is None or match["members"] == "1":
        raise ConfigError(
            f"{flag} is {spec!r}; exits are written NAME+exits or NAME+exits=PLACE/PLACE/PLACE, and "
            "the members of a batch ensemble NAME+members=M with M from 2 to 9999, not both"
        )
    if match["members"]:
        return WithMembers(match["name"], int(match["members"]))
    return WithExits(match["name"], tuple(match["places"].split("/")) if match["places"] else None)


def shown(spec: Network) -> str:
    """A network's name or its factory's, as it stands in a message, on one line."""
    if isinstance(spec, str | WithExits | WithMembers):
        return repr(written_name(spec))
    return import_path(spec) or getattr(spec, "__qualname__", None) or type(spec).__name__
