"""Members of a group of torch.distributed that does not work, as NCCL's may not."""

import os
import time

from cohort.runtime.host import HostActor
from cohort.runtime.wire import Seat


class Silent(HostActor):
    """The second never comes, and the others wait for it."""

    def join_group(self, seat: Seat, *group) -> None:
        if seat.place == 1:
            time.sleep(600)
        super().join_group(seat, *group)


def answer(error: Exception | None) -> None:
    """Of a member that joins a group."""
    if error is not None:
        raise error


class Mortal:
    """A member that does not live to join."""

    def die(self) -> None:
        time.sleep(0.5)
        os._exit(1)
