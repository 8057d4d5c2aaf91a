"""The exchange by torch.distributed: the hosts of a cohort gather each other's messages.

Fewer layers than the object store, so faster for short steps and large posteriors; in return a
hung host is noticed only after the group's timeout.

Shapes: R rows of a message, B batch, C classes.
"""

import contextlib
import datetime
import os
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from cohort.learning.host import Host
from cohort.learning.lesson import others
from cohort.runtime.clock import Clock
from cohort.runtime.rendezvous import meet
from cohort.runtime.warm_up import check_gather
from cohort.runtime.wire import Seat

GROUP_TIMEOUT = datetime.timedelta(minutes=5)


class PeersLostError(RuntimeError):
    """The group broke because of another host, whose own error says why."""


class PosteriorGroup:
    """One host's end of the group in which a cohort exchanges posteriors.

    Args:
        seat: the host's place among the hosts, its rank, and how they write to one another.
        store: where the group meets: ``file:PATH`` on one node, else ``tcp:HOST:PORT``; see ``rendezvous``.
        backend: of torch.distributed.
        device: of the host.
        clock: of the host, told of the time in which it waits here.
    """

    def __init__(
        self, seat: Seat, store: str, backend: str, device: torch.device, clock: Clock
    ) -> None:
        self.seat = seat
        self.backend = backend
        self.device = torch.device("cpu") if backend == "gloo" else device
        self.clock = clock
        rank, size = seat.place, len(seat.sizes)
        kind, _, place = store.partition(":")
        self._met_in = Path(place) if kind == "file" and backend == "gloo" else None
        # NVLink SHARP gathers in the order of the GPUs, which need not be that of the ranks (nccl issue
        # 1906), and gains nothing for messages as short as ours.
        os.environ.setdefault("NCCL_NVLS_ENABLE", "0")
        dist.init_process_group(
            backend,
            store=meet(store, rank, size, GROUP_TIMEOUT),
            rank=rank,
            world_size=size,
            timeout=GROUP_TIMEOUT,
            device_id=None if backend == "gloo" else device,  # NCCL connects now, not in step 0
        )

    def check(self) -> None:
        """Raise GroupUnusableError if what is gathered is not what was sent.

        Whoever has gathered has met all others: nobody needs the file in which gloo met any more, which
        would be left behind, for hosts end by being killed.
        """
        try:
            check_gather(self._all_gather, self.seat.place, self.device)
        finally:
            if self._met_in is not None:
                self._met_in.unlink(missing_ok=True)

    def exchange_and_learn(self, host: Host, step: int, sequential: bool) -> None:
        """One step: predict, exchange messages, and learn, all at once or one host after another."""
        shown = self._gather(self._write(host.predict(step)))
        own = self.seat.place
        if not sequential:
            host.learn(step, *self.seat.around(others(shown, own)))
            return
        for rank in range(len(shown)):
            if rank == own:
                newest = host.learn_in_turn(step, *self.seat.around(others(shown, own)))
                shown[rank] = self._write(newest)
            if rank + 1 < len(shown):  # nobody learns after the last host
                with _group_errors(), self.clock.waiting():
                    dist.broadcast(shown[rank], src=rank)

    def close(self) -> None:
        """Leave the group; peers that wait in it get an error."""
        dist.destroy_process_group()

    def _gather(self, own: Tensor) -> list[Tensor]:
        """What every host writes, each [R, B, C] with R of its own."""
        rows = [self.seat.messages.rows(size) for size in self.seat.sizes]
        if len(own) < max(rows):  # all ranks must send as much
            own = torch.cat([own, own.new_zeros(max(rows) - len(own), *own.shape[1:])])
        gathered = self._all_gather(own)
        return [message[:of_host] for message, of_host in zip(gathered, rows, strict=True)]

    def _all_gather(self, own: Tensor) -> list[Tensor]:
        gathered = [torch.empty_like(own) for _ in self.seat.sizes]
        with _group_errors(), self.clock.waiting():
            dist.all_gather(gathered, own)
        return gathered

    def _write(self, shown_SBC: Tensor) -> Tensor:
        message = self.seat.messages.write(shown_SBC)
        # gloo moves memory of the host, NCCL that of the GPU.
        return (message.cpu() if self.backend == "gloo" else message).contiguous()


@contextlib.contextmanager
def _group_errors() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch's own classes all derive from it
        raise PeersLostError(str(error)) from error
