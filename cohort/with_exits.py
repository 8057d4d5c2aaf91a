"""A network with exits as it is written: ``NAME+exits`` or ``NAME+exits=PLACE/PLACE/PLACE``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cohort.errors import ConfigError
from cohort.imports import written_name


@dataclass(frozen=True)
class WithExits:
    """A plain network, and the modules after which it gets exits; None for the network's own choice.

    Stands wherever a network is named, also around one's own factory.

    Example:
        >>> WithExits("resnet20", ("stages.0", "stages.1")).written_name
        'resnet20+exits=stages.0/stages.1'
    """

    network: str | Callable[..., Any]
    places: tuple[str, ...] | None = None

    @property
    def written_name(self) -> str:
        """The string that ``parse_exits`` reads again."""
        name = self.network if isinstance(self.network, str) else written_name(self.network)
        return f"{name}+exits" + ("" if self.places is None else f"={'/'.join(self.places)}")


Network = str | Callable[..., Any] | WithExits
"""What stands where a network is named."""


def parse_exits(spec: Network, flag: str) -> Network:
    """The WithExits that a string writes down; a plain network, or one's own factory, as it is.

    Raises ConfigError, naming ``flag``, if something else stands after a plus, or a place is empty.
    """
    if not isinstance(spec, str) or "+" not in spec:
        return spec
    name, _, exits = spec.partition("+")
    key, equals, places = exits.partition("=")
    named = tuple(places.split("/")) if equals else None
    if not name or key != "exits" or (named and not all(named)):
        raise ConfigError(
            f"{flag} is {spec!r}; exits are written NAME+exits or NAME+exits=PLACE/PLACE/PLACE"
        )
    return WithExits(name, named)
