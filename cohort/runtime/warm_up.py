"""Whether a new group of torch.distributed works: tried before step 0, while nothing depends on it.

A group can hang in its first operation, or give every member the right posteriors in the wrong order
(nccl issue 1906). Neither would end a run: it would stand still, or train on wrong peers.
"""

from collections.abc import Callable, Sequence
from typing import Any

import ray
import torch
from torch import Tensor

from cohort.imports import one_line
from cohort.runtime.in_flight import unwrapped

WARM_UP_SECONDS = 60.0
"""How long a group may take to form and to pass its check; NCCL on many nodes takes some 10 s."""
CHECKED = (1, 2**16)
"""Numbers that every member sends: a word, and as many as a posterior of 64 images and 1024 classes."""
OTHERS_SECONDS = 2.0
"""How long the others' errors may take to arrive after the first one."""


class GroupUnusableError(RuntimeError):
    """A group does not work though all its members live; the text says how that showed."""


def check_gather(gather: Callable[[Tensor], Sequence[Tensor]], rank: int, device: str) -> None:
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


def wait_until_joined(joined: Sequence[Any], seconds: float = WARM_UP_SECONDS) -> None:
    """Wait until all members have joined a group and checked it.

    Raises GroupUnusableError if it does not work, and a member's death as it is: that is another
    matter, and others' errors follow from it.
    """
    try:
        ray.get(list(joined), timeout=seconds)
    except ray.exceptions.GetTimeoutError as error:
        late = len(joined) - len(_arrived(joined, 0.0))
        raise GroupUnusableError(
            f"{late} of {len(joined)} hosts did not answer within {seconds:g} s"
        ) from error
    except Exception as error:
        errors = [found for answer in _arrived(joined, OTHERS_SECONDS) if (found := _error(answer))]
        dead = (each for each in errors if isinstance(each, ray.exceptions.RayActorError))
        if death := next(dead, None):
            raise death from error
        cause = unwrapped(error)
        text = str(cause) if isinstance(cause, GroupUnusableError) else one_line(cause)
        raise GroupUnusableError(text) from error


def _sent_by(rank: int, count: int) -> Tensor:
    """Whole numbers, exact in float32, that no other rank sends."""
    return torch.arange(rank, rank + count, dtype=torch.float32)


def _arrived(answers: Sequence[Any], seconds: float) -> list[Any]:
    ready, _ = ray.wait(list(answers), num_returns=len(answers), timeout=seconds)
    return list(ready)


def _error(answer: Any) -> Exception | None:
    try:
        ray.get(answer)
    except Exception as error:
        return error
    return None
