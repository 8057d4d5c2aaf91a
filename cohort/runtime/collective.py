"""The exchange by torch.distributed: the hosts of a cohort gather each other's posteriors.

Fewer layers than the object store, so faster for short steps and large posteriors; in return a
hung host is noticed only after the group's timeout.

Shapes: S students of a host, B batch, C classes.
"""

import contextlib
import datetime
import os
import socket
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import FileStore, Store, TCPStore  # type: ignore[attr-defined]

from cohort.learning.host import Host

GROUP_TIMEOUT = datetime.timedelta(minutes=5)


class PeersLostError(RuntimeError):
    """The group broke because of another host, whose own error says why."""


class PosteriorGroup:
    """One host's end of the group in which a cohort exchanges posteriors.

    Args:
        rank: the host's place among the hosts.
        sizes: how many students each host has.
        store: where the group meets: ``file:PATH`` on one node, else ``tcp:HOST:PORT``.
        backend: of torch.distributed.
    """

    def __init__(self, rank: int, sizes: Sequence[int], store: str, backend: str) -> None:
        self.rank = rank
        self.sizes = sizes
        self.backend = backend
        size = len(sizes)
        kind, _, place = store.partition(":")
        if kind == "file":
            # All on one node: nothing needs to be reachable from outside it.
            os.environ["GLOO_SOCKET_IFNAME"] = "lo"
            rendezvous: Store = FileStore(place, size)
        else:
            host, _, port = place.rpartition(":")
            rendezvous = TCPStore(host, int(port), size, is_master=rank == 0, timeout=GROUP_TIMEOUT)
        dist.init_process_group(
            backend, store=rendezvous, rank=rank, world_size=size, timeout=GROUP_TIMEOUT
        )

    def exchange_and_learn(self, host: Host, step: int, sequential: bool) -> None:
        """One step: predict, exchange posteriors, and learn, all at once or one host after another."""
        shown = self._gather(host.predict(step))
        if not sequential:
            host.learn(step, *self._around(shown))
            return
        for rank in range(len(self.sizes)):
            if rank == self.rank:
                newest = host.learn_in_turn(step, *self._around(shown))
                shown[rank] = self._wire(newest)
            if rank + 1 < len(self.sizes):  # nobody learns after the last host
                with _group_errors():
                    dist.broadcast(shown[rank], src=rank)

    def close(self) -> None:
        """Leave the group; peers that wait in it get an error."""
        dist.destroy_process_group()

    def _gather(self, own_SBC: Tensor) -> list[Tensor]:
        """What every host shows, each [S, B, C] of its own S."""
        wired = self._wire(own_SBC)
        largest = max(self.sizes)
        padded = wired.new_zeros(largest, *wired.shape[1:])  # all ranks must send as much
        padded[: len(wired)] = wired
        gathered = [torch.empty_like(padded) for _ in self.sizes]
        with _group_errors():
            dist.all_gather(gathered, padded)
        return [stack[:size] for stack, size in zip(gathered, self.sizes, strict=True)]

    def _around(self, shown: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Posteriors [B, C] of the students in the hosts before this one, and of those after it."""
        before, after = shown[: self.rank], shown[self.rank + 1 :]
        return [row for stack in before for row in stack], [row for stack in after for row in stack]

    def _wire(self, posteriors: Tensor) -> Tensor:
        # gloo moves memory of the host, NCCL that of the GPU.
        return (posteriors.cpu() if self.backend == "gloo" else posteriors).contiguous()


@contextlib.contextmanager
def _group_errors() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch's own classes all derive from it
        raise PeersLostError(str(error)) from error


def new_store(address: str, one_node: bool) -> str:
    """A fresh meeting place for a group: a file where all are on one node, else a port of this one."""
    if one_node:
        return f"file:{Path(tempfile.gettempdir()) / f'cohort-group-{uuid.uuid4().hex}'}"
    with socket.socket() as probe:
        probe.bind((address, 0))
        return f"tcp:{address}:{probe.getsockname()[1]}"
