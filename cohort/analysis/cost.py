"""What an answer at each exit costs: parameters and multiply-adds.

"Be Your Own Teacher" (ICCV 2019, arXiv 1905.08094), Table 5, gives the acceleration of each exit.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cohort.learning.evaluation import evaluating
from cohort.models.early_exit import MultiExitStudent
from cohort.models.modules import count_parameters

ImageShape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class ExitCost:
    """What it takes to answer one image at one exit, and what of that serves this exit alone."""

    exit: int
    parameters: int
    """Those of the sections up to the exit, its branch and its classifier."""
    multiply_adds: int
    """Those of convolutions and matrix products on the way to the exit, for one image."""
    own_parameters: int
    """Those of the branch and the classifier; the deepest exit has no branch."""
    own_multiply_adds: int


def exit_costs(student: MultiExitStudent, image_shape: ImageShape) -> list[ExitCost]:
    """The cost of every exit on its own, shallowest first."""
    network = student.network
    image = torch.zeros(1, *image_shape, device=_device_of(student))
    heads = [
        nn.ModuleList([*network.branches[exit : exit + 1], network.classifiers[exit]])
        for exit in range(network.num_exits)
    ]
    own_multiply_adds = _multiply_adds_of_heads(student, heads, image)
    costs = []
    for exit, head in enumerate(heads, start=1):
        alone = student.exit_alone(exit)
        costs.append(
            ExitCost(
                exit=exit,
                parameters=count_parameters(alone),
                multiply_adds=multiply_adds(alone, image),
                own_parameters=count_parameters(head),
                own_multiply_adds=own_multiply_adds[exit - 1],
            )
        )
    return costs


def cost_together(costs: Sequence[ExitCost], exits: Collection[int]) -> tuple[int, int]:
    """Parameters and multiply-adds of one pass that gives the answers of several exits.

    The sections are shared, so the shallower of the exits add their branches and classifiers.
    """
    deepest = costs[max(exits) - 1]
    others = [costs[exit - 1] for exit in exits if exit != deepest.exit]
    return (
        deepest.parameters + sum(cost.own_parameters for cost in others),
        deepest.multiply_adds + sum(cost.own_multiply_adds for cost in others),
    )


@torch.no_grad()
def multiply_adds(network: nn.Module, image_1CHW: Tensor) -> int:
    """Multiply-adds of convolutions and matrix products in one evaluation: half of the flops."""
    with evaluating(network), FlopCounterMode(display=False) as counter:
        network(image_1CHW)
    flops: int = counter.get_total_flops()
    return flops // 2


def _multiply_adds_of_heads(
    student: MultiExitStudent, heads: Sequence[nn.ModuleList], image_1CHW: Tensor
) -> list[int]:
    """Counted where they run, by hooks on the branches and classifiers, in one pass of all exits."""
    totals, hooks = [0] * len(heads), []
    counter = FlopCounterMode(display=False)
    for number, head in enumerate(heads):
        for part in head:

            def enter(*_: object, number: int = number) -> None:
                totals[number] -= counter.get_total_flops()

            def leave(*_: object, number: int = number) -> None:
                totals[number] += counter.get_total_flops()

            hooks += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave)]
    try:
        with torch.no_grad(), evaluating(student), counter:
            student.outputs(image_1CHW)
    finally:
        for hook in hooks:
            hook.remove()
    return [total // 2 for total in totals]


def _device_of(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
