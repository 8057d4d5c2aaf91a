"""What a step changes of students, kept and put back where it was: the same tensors, their old values."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from cohort.learning.learner import Learner


class Kept:
    """Weights, buffers and optimiser state of students, as they were when this was made.

    What an optimiser keeps of a parameter is made at its first update. Put back to before that, it
    is zero: that is where momentum and moments begin, so the next update is the first one again.
    """

    def __init__(self, learners: Sequence[Learner]) -> None:
        self._learners = learners
        self._values = [(tensor, tensor.detach().clone()) for tensor in self._changing()]

    @torch.no_grad()
    def put_back(self) -> None:
        """Give every tensor the value that it had; gradients are forgotten."""
        known = {id(tensor) for tensor, _ in self._values}
        for tensor in self._changing():
            if id(tensor) not in known:
                tensor.zero_()
        for tensor, value in self._values:
            tensor.copy_(value)
        for learner in self._learners:
            learner.optimizer.zero_grad(set_to_none=True)

    def _changing(self) -> Iterator[Tensor]:
        for learner in self._learners:
            modules = nn.ModuleList([learner.network, learner.forward, learner.adapters])
            yield from modules.parameters()
            yield from modules.buffers()
            for of_one in learner.optimizer.state.values():
                yield from (value for value in of_one.values() if isinstance(value, Tensor))
