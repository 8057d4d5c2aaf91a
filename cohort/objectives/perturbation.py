"""Inputs on which diverse teachers disagree: ODS, ConfODS and Gaussian noise.

"Diversity Matters When Learning From Ensembles" — Nam, Yoon, Lee, Lee, NeurIPS 2021 (arXiv
2110.14149); ODS itself is Tashiro, Song, Ermon 2020 (arXiv 2003.06878).

Shapes: B batch, C channels of an image or classes of a posterior, H x W pixels.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cohort.config import OdsNorm, Perturbation
from cohort.data.augment import Shard, rows_of
from cohort.data.transfer import to_device
from cohort.seeding import generator

PixelsToLogits = Callable[[Tensor], Tensor]
"""Images [B, C, H, W] in [0, 1] to logits [B, C]: a network that normalises its input itself."""


def ods_direction(
    teacher: PixelsToLogits,
    images_BCHW: Tensor,
    w_BC: Tensor,
    *,
    temperature: float = 1.0,
    norm: OdsNorm = "rms",
) -> Tensor:
    """ε = g/‖g‖₂ with g = ∇ₓ Σ_c w_c·softmax(T(x)/τ)_c of each example: float32 [B, C, H, W].

    ``l2`` leaves every ε the length 1, as the paper has it; ``rms`` makes it √D for D = C·H·W, a
    root mean square of 1 over the pixels, as the authors' code has it. A gradient of 0 gives 0.

    Only the input is differentiated, here even inside ``torch.no_grad``: neither the teacher's
    parameters nor the caller's images gain a ``grad``. The teacher should be in evaluation mode.
    """
    with torch.enable_grad():
        x_BCHW, posterior_BC = _posterior_of_leaf(teacher, images_BCHW, temperature)
        return _direction(x_BCHW, posterior_BC, w_BC, norm)


@dataclass(frozen=True, kw_only=True)
class InputPerturbation:
    """x̃ = clamp(x + η/255·ε, 0, 1), with the ε that ``kind`` names.

    ``ods`` has that of ``ods_direction`` for w ~ U(−1, 1), ``conf_ods`` this times the teacher's
    confidence max_c softmax(T(x)/τ)_c in each example, ``gaussian`` N(0, 1) in each pixel;
    ``none`` gives the images themselves.
    """

    kind: Perturbation
    eta: float = 1.0
    """Step size, in 1/255 of the pixels' range."""
    temperature: float = 1.0
    """τ of the teacher's posterior, for ``ods`` and ``conf_ods``."""
    norm: OdsNorm = "rms"
    """Length of an ``ods`` step; ``gaussian`` always has a root mean square of about 1."""

    def chosen_teacher(self, seed: int, step: int, teachers: int) -> int:
        """The one of so many teachers along whose gradient the batch of this step is moved."""
        draw = generator(seed, "perturbing teacher", step)
        return int(torch.randint(teachers, (), generator=draw))

    def __call__(
        self,
        images_BCHW: Tensor,
        teacher: PixelsToLogits,
        *,
        seed: int,
        step: int,
        shard: Shard = (0, 1),
    ) -> Tensor:
        """x̃ of float images in [0, 1], the rows ``shard`` of a batch: [B, C, H, W].

        Random numbers are drawn for the whole batch from (seed, step), on the CPU.
        """
        drawn = _Draws(seed, step, shard, images_BCHW)
        return self._moved(images_BCHW, teacher, drawn.normal, drawn.uniform)

    def draw(
        self, images_BCHW: Tensor, classes: int, *, seed: int, step: int, shard: Shard = (0, 1)
    ) -> Tensor:
        """The random numbers of a call with the same arguments, on the images' device."""
        drawn = _Draws(seed, step, shard, images_BCHW)
        return drawn.normal() if self.kind == "gaussian" else drawn.uniform(classes)

    def by(self, images_BCHW: Tensor, teacher: PixelsToLogits, random: Tensor) -> Tensor:
        """x̃ as a call gives it, with the random numbers of ``draw``: a function of tensors alone."""
        return self._moved(images_BCHW, teacher, lambda: random, lambda classes: random)

    def _moved(
        self,
        images_BCHW: Tensor,
        teacher: PixelsToLogits,
        normal: Callable[[], Tensor],
        uniform: Callable[[int], Tensor],
    ) -> Tensor:
        if self.kind == "none":
            return images_BCHW
        if self.kind == "gaussian":
            epsilon_BCHW = normal()
        else:
            epsilon_BCHW = self._along_gradient(images_BCHW, teacher, uniform)
        return (images_BCHW.detach() + self.eta / 255 * epsilon_BCHW).clamp(0, 1)

    def _along_gradient(
        self, images_BCHW: Tensor, teacher: PixelsToLogits, uniform: Callable[[int], Tensor]
    ) -> Tensor:
        with torch.enable_grad():
            x_BCHW, posterior_BC = _posterior_of_leaf(teacher, images_BCHW, self.temperature)
            w_BC = uniform(posterior_BC.shape[1])
            epsilon_BCHW = _direction(x_BCHW, posterior_BC, w_BC, self.norm)
        if self.kind == "ods":
            return epsilon_BCHW
        return epsilon_BCHW * posterior_BC.detach().amax(dim=1)[:, None, None, None]


@dataclass(frozen=True)
class _Draws:
    """Random numbers of one step for a shard's images, equal on every device and in any sharding."""

    seed: int
    step: int
    shard: Shard
    images_BCHW: Tensor

    def normal(self) -> Tensor:
        """N(0, 1), shaped like the images."""
        draw = generator(self.seed, "gaussian perturbation", self.step)
        shape = self._whole_batch(), *self.images_BCHW.shape[1:]
        return self._own(torch.randn(shape, generator=draw))

    def uniform(self, classes: int) -> Tensor:
        """U(−1, 1), [B, C]."""
        draw = generator(self.seed, "ods", self.step)
        return self._own(2 * torch.rand((self._whole_batch(), classes), generator=draw) - 1)

    def _whole_batch(self) -> int:
        return len(self.images_BCHW) * self.shard[1]

    def _own(self, whole: Tensor) -> Tensor:
        own = whole[rows_of(len(self.images_BCHW), self.shard)]
        return to_device(own, self.images_BCHW.device)


def _posterior_of_leaf(
    teacher: PixelsToLogits, images_BCHW: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """The images as a leaf to differentiate, and softmax(T(x)/τ) of it in float32, [B, C]."""
    x_BCHW = images_BCHW.detach().float().requires_grad_()
    return x_BCHW, torch.softmax(teacher(x_BCHW).float() / temperature, dim=1)


def _direction(x_BCHW: Tensor, posterior_BC: Tensor, w_BC: Tensor, norm: OdsNorm) -> Tensor:
    """The gradient of Σ_c w_c·y_c in x, scaled for each example."""
    # The posterior sums to 1, so w may be shifted for each example: 0 at the likeliest class, or the
    # gradient of a confident teacher would be the rounding error of w_c·1 − Σ w·y.
    likeliest_B1 = posterior_BC.detach().argmax(dim=1, keepdim=True)
    w_BC = w_BC - w_BC.gather(1, likeliest_B1)
    # A sum over the batch: with frozen normalisation, no example depends on another.
    (gradient_BCHW,) = torch.autograd.grad((w_BC * posterior_BC).sum(), x_BCHW)
    # Divided by its largest value first: a confident teacher's gradient is so small that its
    # squares would vanish in float32.
    largest_B111 = gradient_BCHW.abs().amax(dim=(1, 2, 3), keepdim=True)
    scaled_BCHW = gradient_BCHW / largest_B111.masked_fill(largest_B111 == 0, 1)
    length_B111 = torch.linalg.vector_norm(scaled_BCHW, dim=(1, 2, 3), keepdim=True)
    unit_BCHW: Tensor = scaled_BCHW / length_B111.clamp(min=1)  # which it is, unless all are 0
    return unit_BCHW if norm == "l2" else unit_BCHW * math.sqrt(x_BCHW[0].numel())
