"""A network with exits as it is written: ``NAME+exits`` or ``NAME+exits=PLACE/PLACE/PLACE``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
        """The string that ``parse_spec`` reads again."""
        name = self.network if isinstance(self.network, str) else written_name(self.network)
        return f"{name}+exits" + ("" if self.places is None else f"={'/'.join(self.places)}")
