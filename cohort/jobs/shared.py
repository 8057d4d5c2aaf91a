"""What the driver of a job shares with all processes that it starts on Ray."""

from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, TypeVar

import ray
from ray.actor import ActorProxy

from cohort.data.dataset import ImageDataset, Split
from cohort.jobs.job import Job
from cohort.jobs.mailbox import Mailbox

AnyJob = TypeVar("AnyJob", bound=Job)


@dataclass(frozen=True)
class StoredJob(Generic[AnyJob]):
    """A job in the object store, apart from its data, which lie there once for all that take it."""

    job: "ray.ObjectRef[AnyJob]"
    dataset: "ray.ObjectRef[ImageDataset]"

    def take(self) -> AnyJob:
        """The whole job; its data are read without a copy."""
        return replace(ray.get(self.job), dataset=ray.get(self.dataset))


class Shared(NamedTuple):
    """The way to tell the driver something, and the data."""

    mailbox: ActorProxy[Mailbox]
    name: str
    """Of the mailbox."""
    dataset: "ray.ObjectRef[ImageDataset]"

    def store(self, job: AnyJob) -> StoredJob[AnyJob]:
        """A job of these data, for other processes."""
        return StoredJob(ray.put(replace(job, dataset=_without_images(job.dataset))), self.dataset)


def _without_images(dataset: ImageDataset) -> ImageDataset:
    none = Split(dataset.train.images[:0], dataset.train.labels[:0])
    return replace(dataset, train=none, test=none, validation=None)
