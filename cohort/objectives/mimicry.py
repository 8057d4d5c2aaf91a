"""What a student does to be like a teacher, by the name that a config has for it."""

from collections.abc import Mapping
from typing import Final

from cohort.config import Mimicry
from cohort.objectives.dist import Relations
from cohort.objectives.dkd import Decoupled
from cohort.objectives.mutual import KL, Divergence

DIVERGENCES: Final[Mapping[Mimicry, type[Decoupled] | type[Relations]]] = {
    "dkd": Decoupled,
    "dist": Relations,
}
"""Those with a second term, whose weight they take."""


def divergence_of(mimicry: Mimicry, beta: float | None) -> Divergence:
    """The divergence of a resolved config; ``beta`` weighs its second term, if it has one."""
    if mimicry == "kl":
        return KL
    assert beta is not None, "the config is not resolved"
    return DIVERGENCES[mimicry](beta)
