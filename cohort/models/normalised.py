"""A network that takes pixels as they are, so that a saved student needs nothing beside it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cohort.models.features import features_of
from cohort.models.modules import in_mode
from cohort.models.pixels import check_pixels


class Normalised(nn.Module):
    """Normalises pixels in [0, 1] per channel, ``(x - mean) / std``, then calls ``network``.

    Computed as ``x * scale - offset``: two correctly rounded operations, the same bit for bit on
    CPU and GPU, which a division need not be.
    """

    scale: Tensor
    offset: Tensor
    checks = False
    """Whether pixels are looked at first: for a stranger's, not in training, which it would slow down."""

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("scale", per_channel([1 / s for s in std]))
        self.register_buffer("offset", per_channel([m / s for m, s in zip(mean, std, strict=True)]))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """What ``network`` gives for normalised pixels: logits [B, num_classes]."""
        logits: Tensor = self.network(self.normalise(x_BCHW))
        return logits

    def features(self, x_BCHW: Tensor) -> Tensor:
        """What the layer that gives the logits reads, float32 [B, D], by which images are compared.

        For pixels as ``forward`` takes them; in evaluation mode, without gradients. Of a network with
        exits those of the deepest one. Raises ConfigError if no nn.Linear gives the logits.
        """
        with in_mode(self, training=False):
            return features_of(self.network, self.normalise(x_BCHW))

    def normalise(self, x_BCHW: Tensor) -> Tensor:
        """What ``network`` is given for pixels in [0, 1]; if it ``checks``, uint8 ones are scaled.

        And whatever are no pixels raise ConfigError.
        """
        if self.checks:
            x_BCHW = check_pixels(x_BCHW, channels=len(self.scale))
        return x_BCHW * self.scale - self.offset

    def around(self, network: nn.Module) -> "Normalised":
        """Another network behind the same normalisation."""
        other = Normalised(network, (), ())  # the same buffers, not equal ones computed again
        other.scale, other.offset = self.scale, self.offset
        other.training, other.checks = self.training, self.checks
        return other


def per_channel(values: Sequence[float]) -> Tensor:
    """One number per channel as [C, 1, 1], to be broadcast over images [B, C, H, W]."""
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
