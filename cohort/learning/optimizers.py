"""The optimisers of the papers, by name."""

from torch import nn
from torch.optim import SGD, Adam
from torch.optim import Optimizer as TorchOptimizer

from cohort.config import DecayOn, Optimizer


def build_optimizer(
    network: nn.Module, name: Optimizer, *, lr: float, weight_decay: float, decay_on: DecayOn
) -> TorchOptimizer:
    """SGD with Nesterov momentum 0.9, or Adam with betas (0.5, 0.999), as in the DML paper.

    ``momentum`` is SGD with momentum 0.9 without Nesterov, as the ODS authors have it.

    ``decay_on="weights"`` leaves biases and normalisation, the parameters of fewer than two
    dimensions, without weight decay; ``"all"`` decays every parameter.
    """
    trainable = [p for p in network.parameters() if p.requires_grad]
    groups = [{"params": trainable, "weight_decay": weight_decay}]
    if decay_on == "weights":
        groups = [
            {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
        ]
    groups = [group for group in groups if group["params"]]
    if name in ("sgd", "momentum"):
        return SGD(groups, lr=lr, momentum=0.9, nesterov=name == "sgd")
    return Adam(groups, lr=lr, betas=(0.5, 0.999))
