"""The optimiser of a plan: those of the papers, and AdamW; its learning rate, and its state in a file."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from cohort.learning.plan import TrainingPlan
from cohort.models.member_layers import fast_weights, member_biases

SGD_MOMENTUM = {"momentum_buffer"}
ADAM = {"step", "exp_avg", "exp_avg_sq"}
"""What these optimisers keep of each parameter."""
FAST_LR_SCALE = 0.5
"""Learning rate of a batch ensemble's fast weights over that of the rest, as in the ODS paper's code."""
LOADS_A_COMPILER = ("add_param_group", "load_state_dict", "state_dict", "step", "zero_grad")
"""Methods that torch decorates for torch.compile: the first one called imports its compiler."""
Kind = TypeVar("Kind", bound=Optimizer)


def build_optimizer(network: nn.Module, plan: TrainingPlan) -> Optimizer:
    """SGD with Nesterov momentum 0.9, or Adam with betas (0.5, 0.999), as in the DML paper.

    ``momentum`` is SGD with momentum 0.9 without Nesterov, as the ODS authors have it; ``adamw`` has
    betas (0.9, 0.999) and decays weights by ``lr * weight_decay`` of themselves, beside the gradient.

    ``decay_on="weights"`` leaves biases and normalisation, the parameters of fewer than two
    dimensions and members' biases, without weight decay; ``"all"`` decays every parameter but the
    fast weights of a batch ensemble. These have a group of their own, whose ``lr_scale`` says by
    what its learning rate is to be multiplied at every step.

    On a GPU the update is one kernel, and the learning rate a tensor there, for the same kernel at
    every step.
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
    on_gpu = any(parameter.is_cuda for parameter in trainable)
    optimizer = _build(groups, plan, fused=on_gpu or None)
    if on_gpu:
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(group["lr"], device=group["params"][0].device)
    return optimizer


def set_rates(optimizer: Optimizer, lr: float) -> None:
    """Let every group learn at ``lr``, times its ``lr_scale`` if it has one."""
    for group in optimizer.param_groups:
        rate = lr * group.get("lr_scale", 1.0)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def update(optimizer: Optimizer) -> None:
    """Move the weights along their gradients."""
    for group in optimizer.param_groups:
        if "capturable" in group and getattr(group["lr"], "is_cuda", False):
            # Adam refuses to be captured unless it is told of it, and warns if it is told in vain.
            group["capturable"] = torch.cuda.is_current_stream_capturing()
    optimizer.step()


def saved_state(optimizer: Optimizer) -> dict[str, Any]:
    """An optimiser's state as one on the CPU has it, whatever device it is on."""
    state = optimizer.state_dict()
    return {
        "state": {
            number: {name: _on_cpu(value) for name, value in of_one.items()}
            for number, of_one in state["state"].items()
        },
        "param_groups": [_as_on_cpu(group) for group in state["param_groups"]],
    }


def load_state(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """Take over what was saved of each parameter; how it learns stays as this optimiser was built.

    Raises ValueError if it is of other parameters, or of another optimiser.
    """
    own = optimizer.state_dict()["param_groups"]
    groups = saved["param_groups"]
    if len(own) == len(groups):
        groups = [
            {**mine, "params": group["params"]} for mine, group in zip(own, groups, strict=True)
        ]
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
    for parameter, of_one in optimizer.state.items():
        _check_state(optimizer, parameter, of_one)


def _check_state(optimizer: Optimizer, parameter: Any, of_one: Mapping[str, Any]) -> None:
    known = ADAM if isinstance(optimizer, Adam) else SGD_MOMENTUM
    shapes = {key: getattr(value, "shape", None) for key, value in of_one.items()}
    of_parameter = getattr(parameter, "shape", None)
    alike = all(shape == of_parameter for key, shape in shapes.items() if key != "step")
    if shapes.keys() != known or not alike:
        raise ValueError(f"the state of a parameter of shape {of_parameter} is {shapes}")


def undecorated(kind: type[Kind]) -> type[Kind]:
    """The same optimiser, which no compiled code may call: a process that trains starts 2 s sooner."""
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in LOADS_A_COMPILER}
    methods["step"] = torch.no_grad()(methods["step"])  # one of the decorations does that
    return type(kind.__name__, (kind,), methods)


def _build(groups: list[dict[str, Any]], plan: TrainingPlan, fused: bool | None) -> Optimizer:
    if plan.optimizer == "adam":
        return undecorated(Adam)(groups, lr=plan.lr, betas=(0.5, 0.999), fused=fused)
    if plan.optimizer == "adamw":
        return undecorated(AdamW)(groups, lr=plan.lr, betas=(0.9, 0.999), fused=fused)
    nesterov = plan.optimizer == "sgd"
    return undecorated(SGD)(groups, lr=plan.lr, momentum=0.9, nesterov=nesterov, fused=fused)


def _as_on_cpu(group: Mapping[str, Any]) -> dict[str, Any]:
    """A group's options but for those that a GPU has: it was built with the same others."""
    of_cpu = {"lr": float(group["lr"]), "fused": None, "capturable": False}
    return {key: of_cpu.get(key, value) for key, value in group.items()}


def _on_cpu(value: Any) -> Any:
    return value.cpu() if isinstance(value, Tensor) else value


def _those_in(wanted: set[nn.Parameter], parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return [parameter for parameter in parameters if parameter in wanted]
