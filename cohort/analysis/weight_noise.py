"""How flat the minimum is that training found: accuracy and loss under noise on the weights.

A flat minimum generalises, and what a network in one has learned is lost more slowly as the noise
grows. Both papers show it on training images: "Deep Mutual Learning" (CVPR 2018, arXiv 1706.00384)
in Figure 3b, the loss; "Be Your Own Teacher" (ICCV 2019, arXiv 1905.08094) in section 5, the accuracy.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from cohort.data.dataset import Split
from cohort.learning.evaluation import log_posterior_over
from cohort.metrics.classification import accuracy, negative_log_likelihood
from cohort.seeding import generator


@dataclass(frozen=True, kw_only=True)
class NoisePoint:
    """What one strength of noise does: means and sample standard deviations.

    The standard deviation of a single measurement is NaN.
    """

    sigma: float
    accuracy_mean: float
    accuracy_std: float
    loss_mean: float
    loss_std: float

    @classmethod
    def of(cls, sigma: float, measured: Sequence[tuple[float, float]]) -> Self:
        """The point of several measurements of (accuracy, loss) under noise of this strength."""
        (accuracy_mean, accuracy_std), (loss_mean, loss_std) = map(
            _mean_and_std, zip(*measured, strict=True)
        )
        return cls(
            sigma=sigma,
            accuracy_mean=accuracy_mean,
            accuracy_std=accuracy_std,
            loss_mean=loss_mean,
            loss_std=loss_std,
        )


def weight_noise_curve(
    network: nn.Module,
    split: Split,
    sigmas: Sequence[float],
    draws: int,
    seed: int,
    device: torch.device,
    *,
    relative: bool = False,
) -> list[NoisePoint]:
    """Accuracy and mean cross-entropy on the split with N(0, σ²) added to every parameter.

    Args:
        network: images in [0, 1] to logits [B, C], on ``device``. Left bit for bit as it was.
        split: the examples; the papers take the training split.
        sigmas: standard deviations of the noise, 0 or greater.
        draws: independent noises. A draw is the same for every σ but for its scale, which makes
            the curves smooth.
        seed: of the noise, which depends on (seed, draw) alone.
        device: where to compute.
        relative: σ is a fraction of each tensor's root mean square, so that rescaling the weights
            of a layer before batch normalisation, which changes nothing, changes no curve either.
    """
    assert draws > 0

    def measured(sigma: float, draw: int) -> tuple[float, float]:
        with noisy(network, sigma, generator(seed, "weight noise", draw), relative=relative):
            posterior_NC: Tensor = log_posterior_over(network, split, device)
        return accuracy(posterior_NC, labels_N), negative_log_likelihood(posterior_NC, labels_N)

    labels_N = torch.from_numpy(split.labels)
    return [NoisePoint.of(sigma, [measured(sigma, n) for n in range(draws)]) for sigma in sigmas]


@contextmanager
def noisy(
    network: nn.Module, sigma: float, random: torch.Generator, *, relative: bool = False
) -> Iterator[None]:
    """Inside, every parameter has N(0, σ²) added; afterwards its own value, to the bit.

    Buffers, such as batch normalisation's statistics, are no weights and stay.
    """
    parameters = list(network.parameters())
    kept = [parameter.detach().clone() for parameter in parameters]
    try:
        with torch.no_grad():
            for parameter in parameters:
                noise = torch.randn(parameter.shape, generator=random).to(parameter)
                scale = parameter.square().mean().sqrt() if relative else 1
                parameter.add_(sigma * scale * noise)
        yield
    finally:
        # Not a subtraction of the noise, which would leave rounding errors.
        with torch.no_grad():
            for parameter, value in zip(parameters, kept, strict=True):
                parameter.copy_(value)


def _mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    tensor = torch.tensor(values, dtype=torch.float64)
    std = float(tensor.std()) if len(tensor) > 1 else float("nan")
    return float(tensor.mean()), std
