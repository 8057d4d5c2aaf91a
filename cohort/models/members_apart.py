"""Whether the members of a batch ensemble answer as plain networks of their weights would.

Each layer gives its first dimension to the members in equal parts. A network that has something else
there than examples, such as the places of a sequence, would mix the members up without a word.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from cohort.errors import ConfigError
from cohort.models.batch_ensemble import BatchEnsemble
from cohort.models.modes import in_mode

TOLERANCE = 1e-3
"""Of the largest logit; members together round as they do alone."""


@torch.no_grad()
def check_members_apart(ensemble: BatchEnsemble, image_shape: Sequence[int], flag: str) -> None:
    """Raise ConfigError if a member says something else among the others than as a plain network.

    The ensemble takes images of ``image_shape``, and is left as it was. ``flag`` is what the user
    gave its network with.
    """
    last = ensemble.members - 1
    images = torch.rand(2, *image_shape, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]), in_mode(ensemble, training=False):
        together, alone = ensemble(images)[last], ensemble.member_alone(last)
        expected = alone(images)
        if _alike(together, expected) or not _alike(alone(images), expected):  # it is random
            return
    raise ConfigError(
        f"{flag} cannot be a batch ensemble: a member's answer depends on the other members; the "
        "network must treat each example of a batch for itself, and keep them along the first "
        "dimension of what its convolutions and linear layers are given"
    )


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether they are equal up to rounding; so are those that overflowed, which tell nothing."""
    difference, scale = (one - other).abs().max(), other.abs().max()
    return not bool(difference > TOLERANCE * scale)
