"""Places on the cluster for all students of a cohort at once: all of them, or none."""

import uuid
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from cohort.errors import ConfigError
from cohort.run.background import in_background
from cohort.runtime.guard import is_gone
from cohort.runtime.placement import Division

PLACEMENT_SECONDS = 60.0
"""How long other work may hold the resources that the cluster has in total."""
REMOVAL_SECONDS = 10.0
"""After which the places are left to the end of this process, with which Ray gives them back."""


@dataclass(frozen=True)
class Reservation:
    """A placement group that has a bundle for every host."""

    group: PlacementGroup
    division: Division
    """Of the students among hosts."""
    first: int = 0
    """Bundle of the first host; those of the others follow."""


@contextmanager
def reserved(division: Division) -> Iterator[Reservation]:
    """A group with a bundle per host, near each other where they fit; given back afterwards.

    Never waits for ever: raises ConfigError if others hold what the students need.
    """
    shares = [share for share, _ in division.shares]
    bundles, name = [s.resources() for s in shares], f"students-{uuid.uuid4().hex}"
    group: PlacementGroup = placement_group(bundles, strategy="PACK", name=name)
    if not group.wait(PLACEMENT_SECONDS):
        remove_placement_group(group)
        free = ray.available_resources()  # type: ignore[no-untyped-call]
        raise ConfigError(
            f"--k is {division.students}: the students need {sum(s.cpus for s in shares):g} CPUs "
            f"and {sum(s.gpus for s in shares):g} GPUs, "
            f"but others left {free.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} GPUs free "
            f"for {PLACEMENT_SECONDS:.0f} s; wait for them, or use fewer students"
        )
    try:
        yield Reservation(group, division)
    finally:
        if not is_gone():
            # In a thread: should Ray end just now, this one can be told so, and does not wait for it.
            wait([in_background(partial(remove_placement_group, group))], REMOVAL_SECONDS)
