"""The optimiser of a plan: those of the papers, and AdamW."""

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from cohort.learning.plan import TrainingPlan
from cohort.models.member_layers import fast_weights, member_biases

FAST_LR_SCALE = 0.5
"""Learning rate of a batch ensemble's fast weights over that of the rest, as in the ODS paper's code."""


def build_optimizer(network: nn.Module, plan: TrainingPlan) -> Optimizer:
    """SGD with Nesterov momentum 0.9, or Adam with betas (0.5, 0.999), as in the DML paper.

    ``momentum`` is SGD with momentum 0.9 without Nesterov, as the ODS authors have it; ``adamw`` has
    betas (0.9, 0.999) and decays weights by ``lr * weight_decay`` of themselves, beside the gradient.

    ``decay_on="weights"`` leaves biases and normalisation, the parameters of fewer than two
    dimensions and members' biases, without weight decay; ``"all"`` decays every parameter but the
    fast weights of a batch ensemble. These have a group of their own, whose ``lr_scale`` says by
    what its learning rate is to be multiplied at every step.
    """
    fast = set(fast_weights(network))
    trainable = [p for p in network.parameters() if p.requires_grad]
    rest = [p for p in trainable if p not in fast]
    decayed = set(rest) if plan.decay_on == "all" else {p for p in rest if p.ndim > 1}
    if plan.decay_on == "weights":
        decayed -= set(member_biases(network))
    groups: list[dict[str, Any]] = [
        {"params": _those_in(decayed, rest), "weight_decay": plan.weight_decay},
        {"params": [p for p in rest if p not in decayed], "weight_decay": 0.0},
        {
            "params": _those_in(fast, trainable),
            "weight_decay": 0.0,
            "lr": plan.lr * FAST_LR_SCALE,
            "lr_scale": FAST_LR_SCALE,
        },
    ]
    groups = [group for group in groups if group["params"]]
    if plan.optimizer == "adam":
        return Adam(groups, lr=plan.lr, betas=(0.5, 0.999))
    if plan.optimizer == "adamw":
        return AdamW(groups, lr=plan.lr, betas=(0.9, 0.999))
    return SGD(groups, lr=plan.lr, momentum=0.9, nesterov=plan.optimizer == "sgd")


def _those_in(wanted: set[nn.Parameter], parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return [parameter for parameter in parameters if parameter in wanted]
