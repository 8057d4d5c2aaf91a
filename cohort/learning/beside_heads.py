"""A network and its auxiliary heads on a training batch; what is evaluated and kept has none."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from cohort.models.auxiliary import auxiliary_of
from cohort.models.normalised import Normalised
from cohort.models.spec import Network
from cohort.objectives.auxiliary import BesideHeads
from cohort.seeding import derive_seed


class TrainedWithHeads(nn.Module):
    """A student, and heads that read maps in the middle of it.

    Args:
        student: normalises pixels; a plain network.
        places: the modules of its network that give the maps.
        heads: from the map of each to logits.
        weight: of each head's loss.
    """

    def __init__(
        self, student: Normalised, places: Sequence[str], heads: nn.ModuleList, weight: float
    ) -> None:
        super().__init__()
        self.student = student
        self.places = tuple(places)
        self.heads = heads
        self.weight = weight

    def forward(self, x_BCHW: Tensor) -> BesideHeads:
        """Logits of the student and of all heads."""
        maps: dict[str, Tensor] = {}
        with ExitStack() as hooks:
            for place in self.places:

                def keep(_: nn.Module, __: Any, output: Tensor, place: str = place) -> None:
                    maps[place] = output

                module = self.student.network.get_submodule(place)
                hooks.enter_context(module.register_forward_hook(keep))
            logits_BC = self.student(x_BCHW)
        heads = zip(self.heads, self.places, strict=True)
        return BesideHeads(logits_BC, tuple(head(maps[place]) for head, place in heads))


def with_heads(
    student: Normalised,
    network: Network,
    *,
    num_classes: int,
    image_shape: tuple[int, int, int],
    seed: int,
    number: int,
) -> TrainedWithHeads | None:
    """Student ``number`` with its auxiliary heads, if ``network`` is one that has some; else None.

    The heads are a function of (seed, number), and the student is what it would be without them.
    """
    auxiliary = auxiliary_of(network, image_shape)
    if auxiliary is None:
        return None
    assert isinstance(network, str)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "init", "auxiliary", number))
        heads = auxiliary.build(network, num_classes)
    return TrainedWithHeads(student, auxiliary.places, heads, auxiliary.weight)
