"""Whether a new group of torch.distributed works: tried before step 0, while nothing depends on it.

A group can hang in its first operation, or give every member the right posteriors in the wrong order
(nccl issue 1906). Neither would end a run: it would stand still, or train on wrong peers.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cohort.errors import RunError

CHECKED = (1, 2**16)
"""Numbers that every member sends: a word, and as many as a posterior of 64 images and 1024 classes."""


class GroupUnusableError(RunError):
    """A group does not work though all its members live; the text says how that showed."""


def check_gather(
    gather: Callable[[Tensor], Sequence[Tensor]], rank: int, device: torch.device
) -> None:
    """Gather what is known, as a member of a group. Raises GroupUnusableError if something else comes.

    Args:
        gather: of what this member sends, what all send, by rank.
        rank: of this member.
        device: where its tensors lie.
    """
    for count in CHECKED:
        for sender, received in enumerate(gather(_sent_by(rank, count).to(device))):
            if not torch.equal(received.cpu(), _sent_by(sender, count)):
                raise GroupUnusableError(f"host {rank} did not receive what host {sender} sent")


def _sent_by(rank: int, count: int) -> Tensor:
    """Whole numbers, exact in float32, that no other rank sends."""
    return torch.arange(rank, rank + count, dtype=torch.float32)
