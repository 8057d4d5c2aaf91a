"""Hosts whose group of torch.distributed does not work, as NCCL's may not."""

import time

from torch import Tensor

from cohort.runtime.clock import Clock
from cohort.runtime.collective import PosteriorGroup
from cohort.runtime.host import HostActor


class Silent(HostActor):
    """The second never comes, and the first waits for it."""

    def join_group(self, rank: int, *group) -> None:
        if rank == 1:
            time.sleep(600)
        super().join_group(rank, *group)


class Permuted(PosteriorGroup):
    """Gives everybody what others said, in another order."""

    def _all_gather(self, own: Tensor) -> list[Tensor]:
        return super()._all_gather(own)[::-1]


class Permuting(HostActor):
    """Joins a group that is permuted."""

    def join_group(self, rank: int, sizes, store: str, backend: str) -> None:
        self.group = Permuted(rank, sizes, store, backend, self.device, Clock())
        self.group.check()
