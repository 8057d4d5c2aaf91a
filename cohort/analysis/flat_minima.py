"""How flat the minimum is that training found: accuracy and loss under noise on the weights.

"Be Your Own Teacher" (ICCV 2019, arXiv 1905.08094), section 5: a flat minimum generalises, and the
training accuracy of a network in one falls more slowly as the noise grows.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cohort.data.dataset import Split
from cohort.learning.evaluation import log_posterior_over
from cohort.metrics.classification import accuracy, negative_log_likelihood
from cohort.seeding import generator


@dataclass(frozen=True, kw_only=True)
class NoisePoint:
    """What one strength of noise does: mean and sample standard deviation over the draws.

    The standard deviation of a single draw is NaN.
    """

    sigma: float
    accuracy_mean: float
    accuracy_std: float
    loss_mean: float
    loss_std: float


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
        split: the examples; the paper takes the training split.
        sigmas: standard deviations of the noise, 0 or greater.
        draws: independent noises. A draw is the same for every σ but for its scale, which makes
            the curves smooth.
        seed: of the noise, which depends on (seed, draw) alone.
        device: where to compute.
        relative: σ is a fraction of each tensor's root mean square, so that rescaling the weights
            of a layer before batch normalisation, which changes nothing, changes no curve either.
    """
    assert draws > 0
    points = []
    for sigma in sigmas:
        measured = [
            _under_noise(
                network, split, sigma, generator(seed, "weight noise", n), device, relative
            )
            for n in range(draws)
        ]
        (accuracy_mean, accuracy_std), (loss_mean, loss_std) = map(
            mean_and_std, zip(*measured, strict=True)
        )
        points.append(
            NoisePoint(
                sigma=sigma,
                accuracy_mean=accuracy_mean,
                accuracy_std=accuracy_std,
                loss_mean=loss_mean,
                loss_std=loss_std,
            )
        )
    return points


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


def mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; the latter is NaN for one value.

    Example:
        >>> mean_and_std([1.0, 3.0])
        (2.0, 1.4142135623730951)
    """
    tensor = torch.tensor(values, dtype=torch.float64)
    std = float(tensor.std()) if len(tensor) > 1 else float("nan")
    return float(tensor.mean()), std


def _under_noise(
    network: nn.Module,
    split: Split,
    sigma: float,
    random: torch.Generator,
    device: torch.device,
    relative: bool,
) -> tuple[float, float]:
    with noisy(network, sigma, random, relative=relative):
        posterior_NC: Tensor = log_posterior_over(network, split, device)
    labels_N = torch.from_numpy(split.labels)
    return accuracy(posterior_NC, labels_N), negative_log_likelihood(posterior_NC, labels_N)
