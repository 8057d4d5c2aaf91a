"""A trained Deep Ensemble as a teacher: frozen, in evaluation mode.

Shapes: M teachers, B batch, C classes.
"""

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from cohort.data.dataset import Split
from cohort.data.source import whole
from cohort.errors import ConfigError
from cohort.learning.evaluation import EVALUATION_BATCH
from cohort.learning.precision import exactly
from cohort.models.normalised import Normalised
from cohort.objectives.mutual import log_posterior
from cohort.objectives.perturbation import PixelsToLogits


class Teachers:
    """The members of an ensemble, whose modules it freezes and switches to evaluation.

    Args:
        modules: one or more, from pixels in [0, 1] to logits.
        stacked: one batched call of all instead of one call of each, with the same posteriors up to
            rounding. All must then be one architecture; raises ConfigError otherwise. Their weights
            get torch's default memory format, for reasons that ``_lay_out`` has.
    """

    def __init__(self, modules: Sequence[Normalised], *, stacked: bool = False) -> None:
        assert modules, "an ensemble without teachers"
        self._modules: list[nn.Module] = [module.eval().requires_grad_(False) for module in modules]
        if stacked:
            _check_same_architecture(self._modules)
            self._shape = copy.deepcopy(self._modules[0]).to("meta")
        self._stacked = stacked
        self._all_at_once = self._stack() if stacked else None

    def __len__(self) -> int:
        return len(self._modules)

    @torch.no_grad()
    def log_posteriors(self, images_BCHW: Tensor) -> Tensor:
        """Every teacher's log-posterior at T = 1: float32 [M, B, C], without a graph."""
        if self._all_at_once is not None:
            logits_MBC = self._all_at_once(images_BCHW)
            return log_posterior(logits_MBC.flatten(0, 1)).view(logits_MBC.shape)
        return torch.stack([log_posterior(module(images_BCHW)) for module in self._modules])

    def log_posteriors_over(self, split: Split, device: torch.device) -> Tensor:
        """Every teacher's log-posterior over a whole split, as it is: float32 [M, N, C] on the CPU."""
        with exactly(device):
            parts = [
                self.log_posteriors(images).cpu()
                for images, _ in whole(split, device=device, batch_size=EVALUATION_BATCH)
            ]
        return torch.cat(parts, dim=1)

    def one(self, teacher: int) -> PixelsToLogits:
        """Teacher number ``teacher`` alone, differentiable in its input."""
        return self._modules[teacher]

    def to(self, device: torch.device) -> Self:
        """All of them on a device."""
        for module in self._modules:
            module.to(device)
        if self._stacked:
            self._all_at_once = self._stack()
        return self

    def _stack(self) -> PixelsToLogits:
        """Images [B, C, H, W] to all logits [M, B, C] in one batched call."""
        for module in self._modules:
            _lay_out(module)
        weights, buffers = stack_module_state(self._modules)
        for place, module in enumerate(self._modules):
            _share(module, {**weights, **buffers}, place)

        def call(
            weights: dict[str, Tensor], buffers: dict[str, Tensor], images_BCHW: Tensor
        ) -> Tensor:
            logits_BC: Tensor = functional_call(self._shape, (weights, buffers), (images_BCHW,))
            return logits_BC

        batched: Callable[..., Tensor] = torch.vmap(call, in_dims=(0, 0, None))

        def call_all(images_BCHW: Tensor) -> Tensor:
            with warnings.catch_warnings():
                # Global pooling takes the batch apart for a moment: nobody can act upon that.
                warnings.filterwarnings("ignore", "There is a performance drop because we have not")
                return batched(weights, buffers, _in_default_format(images_BCHW))

        return call_all


def _lay_out(module: nn.Module) -> None:
    """Give a teacher's tensors torch's default memory format, in which its activations then follow.

    In channels-last, which is faster for one network, batch normalisation on a GPU asks its input for
    that format, and vmap knows no other than the default.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = _in_default_format(tensor.data)


def _in_default_format(tensor: Tensor) -> Tensor:
    """A copy whose strides say so even where a size is 1, which ``contiguous`` leaves as they are."""
    return tensor.clone(memory_format=torch.contiguous_format)


def _share(module: nn.Module, stacks: dict[str, Tensor], place: int) -> None:
    """Let a teacher's tensors be its rows of the stacks, so that no weight is kept twice."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        tensor.data = stacks[name][place]


def _check_same_architecture(modules: Sequence[nn.Module]) -> None:
    for number, module in enumerate(modules):
        if _architecture(module) != _architecture(modules[0]):
            raise ConfigError(
                f"--stacked-teachers needs teachers of one architecture, but teacher {number} is not "
                "built like teacher 0; leave --stacked-teachers out"
            )


def _architecture(module: nn.Module) -> tuple[str, dict[str, torch.Size]]:
    """What a module prints, strides and such included, and the shapes of its tensors."""
    return repr(module), {name: tensor.shape for name, tensor in module.state_dict().items()}
