"""The optimisers of the papers, by name."""

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import SGD, Adam
from torch.optim import Optimizer as TorchOptimizer

from cohort.config import DecayOn, Optimizer
from cohort.models.member_layers import fast_weights, member_biases

FAST_LR_SCALE = 0.5
"""Learning rate of a batch ensemble's fast weights over that of the rest, as in the ODS paper's code."""


def build_optimizer(
    network: nn.Module, name: Optimizer, *, lr: float, weight_decay: float, decay_on: DecayOn
) -> TorchOptimizer:
    """SGD with Nesterov momentum 0.9, or Adam with betas (0.5, 0.999), as in the DML paper.

    ``momentum`` is SGD with momentum 0.9 without Nesterov, as the ODS authors have it.

    ``decay_on="weights"`` leaves biases and normalisation, the parameters of fewer than two
    dimensions and members' biases, without weight decay; ``"all"`` decays every parameter but the
    fast weights of a batch ensemble. These have a group of their own, whose ``lr_scale`` says by
    what its learning rate is to be multiplied at every step.
    """
    fast = set(fast_weights(network))
    trainable = [p for p in network.parameters() if p.requires_grad]
    rest = [p for p in trainable if p not in fast]
    decayed = set(rest) if decay_on == "all" else {p for p in rest if p.ndim > 1}
    if decay_on == "weights":
        decayed -= set(member_biases(network))
    groups: list[dict[str, Any]] = [
        {"params": _those_in(decayed, rest), "weight_decay": weight_decay},
        {"params": [p for p in rest if p not in decayed], "weight_decay": 0.0},
        {
            "params": _those_in(fast, trainable),
            "weight_decay": 0.0,
            "lr": lr * FAST_LR_SCALE,
            "lr_scale": FAST_LR_SCALE,
        },
    ]
    groups = [group for group in groups if group["params"]]
    if name in ("sgd", "momentum"):
        return SGD(groups, lr=lr, momentum=0.9, nesterov=name == "sgd")
    return Adam(groups, lr=lr, betas=(0.5, 0.999))


def _those_in(wanted: set[nn.Parameter], parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return [parameter for parameter in parameters if parameter in wanted]
