"""A job's pictures in files, decoded by one feeder on each node for all processes of the job there."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ray
from ray.actor import ActorProxy

from cohort.data.fed import in_files, with_feed
from cohort.data.feeder import free_cores
from cohort.jobs.common import AnyJob
from cohort.jobs.mailbox import Mailbox
from cohort.runtime.feeding import NodeFeed, cores_of

if TYPE_CHECKING:
    from cohort.data.dataset import ImageDataset


def fed(
    job: AnyJob, mailbox: ActorProxy[Mailbox], dataset: "ray.ObjectRef[ImageDataset]", *, busy: int
) -> AnyJob:
    """The job as a process on Ray has it: its pictures in files come from this node's feeder.

    ``dataset`` is the job's own, in the object store; ``busy`` are the threads that train on this
    node, by which a feeder that does not exist yet decides how many decode.
    """
    if not in_files(job.dataset):
        return job
    node: str = ray.get_runtime_context().get_node_id()
    decoders = job.config.decoders or free_cores(busy, cores_of(node))
    feeder: Any = ray.get(mailbox.feeder.remote(node))
    feed = NodeFeed(feeder, job.plan, [dataset], decoders)
    return replace(job, dataset=with_feed(job.dataset, feed))
