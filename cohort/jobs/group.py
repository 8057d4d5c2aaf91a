"""The group that a job's workers form, as Ray Train starts them: for the mailbox, and for torch.distributed.

Ray Train's own meets at a port of all interfaces, where whoever reaches it reads and writes what the
workers tell each other. Formed here it listens as ``cohort.runtime.rendezvous`` says.
"""

import datetime
from dataclasses import dataclass
from typing import Any, cast

import ray
import torch.distributed as dist
from ray.actor import ActorProxy
from ray.train.backend import Backend, BackendConfig
from ray.train.torch import TorchConfig

from cohort.jobs.mailbox import Mailbox, Place, own_place
from cohort.runtime.rendezvous import LOOPBACK, meet, new_file, new_port


@dataclass
class GroupConfig(TorchConfig):
    """``TorchConfig`` of a group that meets privately.

    Args:
        mailbox: told of the workers, before any of them begins.
        folder: of the run alone, on its driver's node.
        node: the driver's, as Ray numbers it.
    """

    mailbox: ActorProxy[Mailbox] | None = None
    folder: str = ""
    node: str = ""

    @property
    def backend_cls(self) -> type[Backend]:
        """What Ray Train calls when workers start."""
        return WorkersGroup


class WorkersGroup(Backend):
    """Has the workers form their group before they train; one worker alone needs none of torch's."""

    share_cuda_visible_devices = True  # as with Ray Train's own: NCCL wants to see all

    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        """Called by Ray Train with all workers, each in its process. Raises what one of them raises."""
        config, size = cast(GroupConfig, backend_config), len(worker_group)
        assert config.mailbox is not None
        places: list[Place] = worker_group.execute(own_place)
        ray.get(config.mailbox.renew.remote(places))
        if size == 1:
            return
        nodes = [place.node for place in places]
        place = worker_group.execute_single(0, _meeting_place, nodes, config)
        joined = [
            worker_group.execute_single_async(rank, _join, rank, size, place, config)
            for rank in range(size)
        ]
        ray.get(joined)


def _meeting_place(nodes: list[str], config: GroupConfig) -> str:
    """On the first worker's node."""
    if set(nodes) == {config.node}:
        return new_file(config.folder)
    if len(set(nodes)) == 1:
        return new_port(LOOPBACK)
    return new_port(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


def _join(rank: int, size: int, place: str, config: GroupConfig) -> None:
    timeout = datetime.timedelta(seconds=config.timeout_s)
    store = meet(place, rank, size, timeout)
    dist.init_process_group(
        config.backend, store=store, rank=rank, world_size=size, timeout=timeout
    )
