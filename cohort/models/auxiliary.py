"""Auxiliary classifiers of torchvision's Inception networks, which they have in training alone.

InceptionV1 (Szegedy et al., CVPR 2015, section 5) has two, "their loss gets added to the total loss
of the network with a discount weight"; "at inference time, these auxiliary networks are discarded".
InceptionV3 (Szegedy et al., CVPR 2016, section 4) has one; its weight, 0.4, is that of the authors'
code (TF-slim).
"""

from dataclasses import dataclass

from torch import nn

from cohort.models.families import ImageShape
from cohort.models.spec import Network


@dataclass(frozen=True)
class Auxiliary:
    """Where a network's heads stand."""

    places: tuple[str, ...]
    """After which modules."""
    names: tuple[str, ...]
    """torchvision's names of them."""
    weight: float
    """Of each head's loss."""
    least: int
    """Height and width of the smallest pictures whose maps the heads can read."""

    def build(self, network: str, num_classes: int) -> nn.ModuleList:
        """torchvision's own heads, drawn from torch's random numbers."""
        import torchvision  # here, because it takes seconds and most runs need none of it

        whole = torchvision.models.get_model(
            network, weights=None, num_classes=num_classes, aux_logits=True, init_weights=True
        )
        return nn.ModuleList([whole.get_submodule(name) for name in self.names])


HEADS = {
    "googlenet": Auxiliary(("inception4a", "inception4d"), ("aux1", "aux2"), 0.3, 1),
    "inception_v3": Auxiliary(("Mixed_6e",), ("AuxLogits",), 0.4, 299),
}


def auxiliary_of(network: Network, image_shape: ImageShape) -> Auxiliary | None:
    """The heads of a plain network by name, if it has some that fit the images."""
    heads = HEADS.get(network) if isinstance(network, str) else None
    return heads if heads is not None and min(image_shape[1:]) >= heads.least else None
