"""Data-parallel workers in processes of their own, without Ray: what they tell, and what is left."""

import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

from cohort.jobs.worker import work
from cohort.learning.data_parallel import Workers

PRELOADED = ["cohort.jobs.worker", "cohort.jobs.ods.job", "cohort.jobs.self_distill.job"]
"""What workers need."""
SAVED = 3
"""A step of which a checkpoint is wanted, beside those of the plan."""


class Told:
    """A channel that keeps what it is told."""

    def __init__(self):
        self.records, self.evaluations, self.saved, self.final = [], [], [], None
        self.asked = 0

    def begin(self):
        return 0, None

    def trained(self, records):
        self.records += records

    def pause(self, *, pausing):
        pass

    def evaluated(self, step, results, phase):
        if phase == "test":
            self.evaluations.append((step, results))

    def save(self, step, files):
        self.saved.append((step, sorted(files)))

    def finished(self, final):
        self.final = final

    def stopping(self):
        return False

    def saving(self):
        """Once, in the middle of an epoch."""
        self.asked += 1
        return self.asked == SAVED


def work_together(jobs, size, folder):
    """What ``size`` workers tell of each prepared job, one after the other in the same processes."""
    Path(folder).mkdir()
    in_processes(_work, (jobs, size, str(folder)), size)
    return pickle.loads((Path(folder) / "told").read_bytes())


def in_processes(function: Callable[..., None], arguments: tuple[object, ...], size: int) -> None:
    """Call ``function(rank, *arguments)`` in as many processes; raises what one of them raises.

    They are forked from one that has imported torch, and done nothing with it, once for all tests.
    """
    multiprocessing.set_forkserver_preload(PRELOADED)
    torch.multiprocessing.start_processes(function, arguments, size, start_method="forkserver")


def _work(rank, jobs, size, folder):
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
    told = [Told() for _ in jobs]
    try:
        for job, channel in zip(jobs, told, strict=True):
            work(job, Workers(rank, size), torch.device("cpu"), channel)
    finally:
        dist.destroy_process_group()
    if rank == 0:
        (Path(folder) / "told").write_bytes(pickle.dumps(told))
    else:
        assert not any(channel.records for channel in told), "only the leading worker speaks"
