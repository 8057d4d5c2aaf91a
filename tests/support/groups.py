"""A host whose group of torch.distributed does not work, as NCCL's may not."""

import time

from cohort.runtime.host import HostActor


class Silent(HostActor):
    """The second never comes, and the first waits for it."""

    def join_group(self, rank: int, *group) -> None:
        if rank == 1:
            time.sleep(600)
        super().join_group(rank, *group)
