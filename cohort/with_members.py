"""A batch ensemble as it is written: ``NAME+members=M``."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from cohort.errors import ConfigError
from cohort.imports import written_name

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

    network: str | Callable[..., Any]
    members: int
    init: MemberInit = field(default="normal", kw_only=True)
    """How the fast weights start; not written down, for it is of no use once they are trained."""

    def __post_init__(self) -> None:
        if self.members not in range(2, MOST_MEMBERS + 1):
            raise ConfigError(
                f"members is {self.members!r}; a batch ensemble has from 2 to {MOST_MEMBERS} members"
            )
        if not callable(self.network) and "+" in getattr(
            self.network, "written_name", self.network
        ):
            raise ConfigError(
                f"network is {self.network!r}; a batch ensemble is made of a plain network, without a +"
            )
        if self.init not in ("normal", "sign"):
            raise ConfigError(f"init is {self.init!r}; it must be normal or sign")

    @property
    def written_name(self) -> str:
        """The string that ``parse_spec`` reads again."""
        name = self.network if isinstance(self.network, str) else written_name(self.network)
        return f"{name}+members={self.members}"
