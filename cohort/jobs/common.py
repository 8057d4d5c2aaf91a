"""What the processes of a job have in common, and how the job itself reaches them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import ray
from ray.actor import ActorProxy

from cohort.data.dataset import ImageDataset
from cohort.jobs.mailbox import Mailbox

if TYPE_CHECKING:
    from cohort.jobs.job import Job
    from cohort.jobs.placement import Placement

AnyJob = TypeVar("AnyJob", bound="Job")


@dataclass(frozen=True)
class StoredJob(Generic[AnyJob]):
    """A job in the object store, apart from its data, which lie there once for all that take it."""

    job: "ray.ObjectRef[AnyJob]"
    dataset: "ray.ObjectRef[ImageDataset]"

    def take(self) -> AnyJob:
        """The whole job; its data are read without a copy."""
        return replace(ray.get(self.job), dataset=ray.get(self.dataset))


class Common(NamedTuple):
    """What the processes of a job have in common: a mailbox to the driver, and the data."""

    mailbox: ActorProxy[Mailbox]
    name: str
    """The mailbox's name, by which other processes find it."""
    dataset: "ray.ObjectRef[ImageDataset]"

    def store(self, job: AnyJob) -> StoredJob[AnyJob]:
        """Put a job of these data into the object store, for other processes."""
        return StoredJob(ray.put(replace(job, dataset=_without_images(job.dataset))), self.dataset)


def _without_images(dataset: ImageDataset) -> ImageDataset:
    none = dataset.train.part(slice(0))
    return replace(dataset, train=none, test=none, validation=None)


Beside = Callable[["Job", "Placement", Common], AbstractContextManager["Job"]]
"""Inside, actors run beside a job's workers, and the job that is given back knows of them."""
