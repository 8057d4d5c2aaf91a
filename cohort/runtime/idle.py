"""Hosts whose students compute nothing, so that what is left of a step is the exchange.

Shapes: S students of the host, B batch, C classes.
"""

import time
from collections.abc import Sequence
from typing import Any, cast

import ray
import torch
import torch.distributed as dist
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from torch import Tensor

from cohort.learning.host import Host
from cohort.learning.windows import Means
from cohort.objectives.mutual import log_posterior
from cohort.objectives.peer_sum import Peer
from cohort.runtime.exchange import Hosts, Places
from cohort.runtime.host import HostActor
from cohort.runtime.reservation import Reservation


class IdleHost:
    """What an exchange asks of a ``Host``: always the same posteriors, learned from in no time."""

    def __init__(self, students: int, batch: int, classes: int) -> None:
        self.shown_SBC = log_posterior(torch.randn(students * batch, classes)).reshape(
            students, batch, classes
        )
        self.moments: list[float] = []
        """When each step was done."""

    def predict(self, step: int) -> Tensor:
        """Log-posteriors [S, B, C]."""
        return self.shown_SBC

    def learn(self, step: int, before: Sequence[Peer] = (), after: Sequence[Peer] = ()) -> None:
        """Take the time."""
        self.moments.append(time.perf_counter())

    def learn_in_turn(
        self, step: int, before: Sequence[Peer] = (), after: Sequence[Peer] = ()
    ) -> Tensor:
        """Take the time; the same log-posteriors."""
        self.learn(step)
        return self.shown_SBC

    def drain(self) -> dict[int, list[Means]]:
        """No measurements."""
        return {}


class IdleActor(HostActor):
    """A host's process with nothing to compute."""

    @ray.method
    def idle(self, students: int, batch: int, classes: int) -> None:
        """Have so many students, whose posteriors have these sizes."""
        self.nobody = IdleHost(students, batch, classes)
        self.host = cast("Host", self.nobody)

    @ray.method
    def gather(self, steps: int, rows: int) -> None:
        """The bare operation: as many numbers as ``rows`` students show, from each process to each."""
        own = self.nobody.shown_SBC[:1].repeat(rows, 1, 1)
        for _ in range(steps):
            dist.all_gather([torch.empty_like(own) for _ in range(dist.get_world_size())], own)
            self.nobody.moments.append(time.perf_counter())

    @ray.method
    def moments(self) -> list[float]:
        """When each step since the last call was done, in seconds."""
        moments, self.nobody.moments = self.nobody.moments, []
        return moments


RemoteIdle = ray.remote(max_restarts=0, max_task_retries=0)(IdleActor)


class IdleHosts:
    """An idle host in every place of a reservation."""

    def __init__(self, reservation: Reservation) -> None:
        self._division = reservation.division
        self._actors = [
            RemoteIdle.options(
                num_cpus=self._division.share.cpus,
                scheduling_strategy=PlacementGroupSchedulingStrategy(reservation.group, place),
            ).remote(self._division.threads, "cpu")
            for place in range(len(self._division.hosts))
        ]

    @property
    def hosts(self) -> Hosts:
        """As an exchange takes them."""
        return cast("Hosts", self._actors)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many students each host has."""
        return tuple(map(len, self._division.hosts))

    def show(self, batch: int, classes: int) -> Places:
        """From now on posteriors of these sizes; returns the hosts' places."""
        paired = list(zip(self._actors, self._division.hosts, strict=True))
        ray.get([actor.idle.remote(len(students), batch, classes) for actor, students in paired])
        places: list[Any] = ray.get([actor.whereabouts.remote() for actor in self._actors])
        return [{**p, "students": s} for p, (_, s) in zip(places, paired, strict=True)]

    def gather(self, steps: int) -> None:
        """So many bare operations, in the group of a collective exchange that was opened."""
        ray.get([actor.gather.remote(steps, max(self.sizes)) for actor in self._actors])

    def moments(self) -> list[float]:
        """When the first host was done with each step since the last call, in seconds."""
        moments: list[list[float]] = ray.get([actor.moments.remote() for actor in self._actors])
        return moments[0]

    def close(self) -> None:
        """End the processes."""
        for actor in self._actors:
            ray.kill(cast("ActorHandle[IdleActor]", actor))
