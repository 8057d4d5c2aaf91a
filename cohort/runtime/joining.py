"""The driver's side of a group's start: it works, or it does not, or one of its members died."""

from collections.abc import Sequence
from typing import Any

import ray

from cohort.imports import one_line
from cohort.runtime.in_flight import unwrapped
from cohort.runtime.warm_up import GroupUnusableError

WARM_UP_SECONDS = 60.0
"""How long a group may take to form and to pass its check; NCCL on many nodes takes some 10 s."""
OTHERS_SECONDS = 10.0
"""How long the others' errors may take to arrive after the first one."""


def wait_until_joined(joined: Sequence[Any]) -> None:
    """Wait until all members have joined a group and checked it.

    Raises GroupUnusableError if it does not work, and a member's death as it is: that is another
    matter, and others' errors follow from it.
    """
    try:
        ray.get(list(joined), timeout=WARM_UP_SECONDS)
    except ray.exceptions.GetTimeoutError as error:
        late = len(joined) - len(_arrived(joined, 0.0))
        raise GroupUnusableError(
            f"{late} of {len(joined)} hosts did not answer within {WARM_UP_SECONDS:g} s"
        ) from error
    except Exception as error:
        errors = [found for answer in _arrived(joined, OTHERS_SECONDS) if (found := _error(answer))]
        dead = (each for each in errors if isinstance(each, ray.exceptions.RayActorError))
        if death := next(dead, None):
            raise death from error
        cause = unwrapped(error)
        text = str(cause) if isinstance(cause, GroupUnusableError) else one_line(cause)
        raise GroupUnusableError(text) from error


def _arrived(answers: Sequence[Any], seconds: float) -> list[Any]:
    ready, _ = ray.wait(list(answers), num_returns=len(answers), timeout=seconds)
    return list(ready)


def _error(answer: Any) -> Exception | None:
    try:
        ray.get(answer)
    except Exception as error:
        return error
    return None
