"""Teachers as actors of their own, for an ensemble that does not fit beside the student.

They recompute the batch of a step, so that no image travels but perturbed ones: the actor whose
teacher makes those hands them to its fellows and to the worker through the object store, and every
actor answers with its teachers' posteriors. A worker asks for a step ahead of the one it learns
from, so that teachers and student work at the same time.

All is a function of seed and step: an actor that dies is started again and asked again, by Ray, and
tells the driver so.

Shapes: M teachers, B batch, C channels or classes, N examples.
"""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import ray
import torch
from ray.actor import ActorProxy
from torch import Tensor

from cohort.data.augment import Shard
from cohort.data.dataset import Images, Split
from cohort.data.fed import FedPictures, source_of, through
from cohort.data.source import Source, as_tensor
from cohort.data.transfer import to_device
from cohort.errors import RunError
from cohort.jobs.common import Common, StoredJob
from cohort.jobs.feeding import fed
from cohort.jobs.job import Job
from cohort.jobs.mailbox import Mailbox, own_place, packed
from cohort.jobs.ods.job import OdsJob
from cohort.jobs.placement import Placement
from cohort.jobs.post import WorkerFailedError
from cohort.learning.inputs import Drawn
from cohort.learning.precision import autocast
from cohort.learning.process import own_process
from cohort.learning.teaching import Taught, Teaching
from cohort.objectives.perturbation import InputPerturbation
from cohort.runtime.private_ray import was_started_again

Array = npt.NDArray[np.float32]
AHEAD = 1
"""Steps that are asked for before they are needed."""


class TeacherActor:
    """Some of the teachers, on a core or GPU of their own. Plain Python; ``ray.remote`` wraps it."""

    def __init__(self, mailbox_name: str, mine: Sequence[int], device: str, threads: int) -> None:
        # Found by its name: of arguments in the object store, and a handle is one, Ray tells the
        # terminal that they may be gone when an actor starts again.
        mailbox: ActorProxy[Mailbox] = ray.get_actor(mailbox_name)
        if was_started_again():
            mailbox.tell.remote(packed("teachers_restarted", mine), None)
        numbers = ", ".join(map(str, mine))
        mailbox.enter.remote(f"the actor of teachers {numbers}", own_place())
        self._device = torch.device(device)
        stored: StoredJob[OdsJob] = StoredJob(*ray.get(mailbox.kept.remote()))
        job = stored.take()
        own_process(threads, job.config.precision)
        places = job.config.workers + job.places_beside  # some of which may be on other nodes
        job = fed(job, mailbox, stored.dataset, busy=places * threads)
        self._mine = list(mine)
        self._teachers = job.build_teachers(self._device, mine)
        self._job = replace(job, teachers=())  # the others' weights need not stay here
        self._sources: dict[Shard, Source] = {}
        self._autocast = autocast(job.config.precision, self._device)

    @ray.method
    def perturb(self, step: int, shard: Shard, teacher: int) -> Array:
        """A shard of a step's batch, perturbed by one of these teachers."""
        with self._autocast:
            perturbed: Tensor = self._job.perturbation(
                self._images(step, shard),
                self._teachers.one(self._mine.index(teacher)),
                seed=self._job.config.seed,
                step=step,
                shard=shard,
            )
        return as_array(perturbed)

    @ray.method
    def log_posteriors(self, step: int, shard: Shard, perturbed: Array | None) -> Array:
        """Log-posteriors [m, B, C] of this actor's m teachers on perturbed images, or on the step's own."""
        images = self._images(step, shard) if perturbed is None else as_tensor(perturbed)
        with self._autocast:
            return as_array(self._teachers.log_posteriors(images.to(self._device)))

    @ray.method
    def over(self, images: Images) -> Array:
        """Log-posteriors [m, N, C] of this actor's m teachers on images as they are."""
        train = self._job.dataset.train.images
        images = through(train.feed if isinstance(train, FedPictures) else None, images)
        split = Split(images, np.zeros(len(images), dtype=np.int64))
        return as_array(self._teachers.log_posteriors_over(split, self._device))

    def _images(self, step: int, shard: Shard) -> Tensor:
        if shard not in self._sources:
            dataset, plan = self._job.dataset, self._job.plan
            self._sources[shard] = source_of(
                dataset,
                batch_size=plan.batch_size,
                seed=plan.seed,
                total_steps=plan.total_steps,
                device=self._device,
                shard=shard,
            )
        return self._sources[shard].batch(step)[0]


@dataclass(frozen=True)
class TeacherPool:
    """The actors as a worker sees them."""

    actors: tuple[ActorProxy[TeacherActor], ...]
    held: tuple[tuple[int, ...], ...]
    """Numbers of the teachers that each actor holds."""
    perturbation: InputPerturbation
    seed: int

    def teaching(self, shard: Shard, total_steps: int) -> "PoolTeaching":
        """What teaches one worker, whose shard of each batch the actors are asked about."""
        return PoolTeaching(self, shard, total_steps)

    def ask(self, step: int, shard: Shard) -> "Asked":
        """What is taught about a shard of a step's batch, not waited for."""
        perturbed: Any = None
        if self.perturbation.kind != "none":
            teacher = self.perturbation.chosen_teacher(self.seed, step, sum(map(len, self.held)))
            holder = next(i for i, held in enumerate(self.held) if teacher in held)
            perturbed = self.actors[holder].perturb.remote(step, shard, teacher)
        answers = [actor.log_posteriors.remote(step, shard, perturbed) for actor in self.actors]
        return Asked(perturbed, answers)

    def log_posteriors_over(self, split: Split) -> Tensor:
        """Every teacher's log-posterior over a split, [M, N, C]."""
        images: Any = ray.put(through(None, split.images))  # each asks the feeder of its own node
        return self.in_order(fetch([actor.over.remote(images) for actor in self.actors]))

    def in_order(self, answers: Sequence[Array]) -> Tensor:
        """The actors' answers [m, N, C] as one of all teachers [M, N, C]."""
        rows = {
            teacher: row
            for held, answer in zip(self.held, answers, strict=True)
            for teacher, row in zip(held, answer, strict=True)
        }
        return torch.from_numpy(np.stack([rows[teacher] for teacher in sorted(rows)]))


class Asked(NamedTuple):
    """A question to the actors: references to answers that may still be on their way."""

    perturbed: Any
    """Reference to the perturbed images; None for the images themselves."""
    answers: list[Any]


class PoolTeaching(Teaching):
    """A Teaching by the actors of a pool."""

    def __init__(self, pool: TeacherPool, shard: Shard, total_steps: int) -> None:
        self._pool = pool
        self._shard = shard
        self._total_steps = total_steps
        self._asked: dict[int, Asked] = {}

    def draw(self, step: int, images_BCHW: Tensor) -> Drawn:
        """Every teacher's posterior, and the perturbed images if they are perturbed."""
        last = min(step + AHEAD, self._total_steps - 1)
        self._asked = {
            s: self._asked.get(s) or self._pool.ask(s, self._shard) for s in range(step, last + 1)
        }
        perturbed, answers = self._asked.pop(step)
        taught = [self._pool.in_order(fetch(answers))]
        if perturbed is not None:
            taught += map(as_tensor, fetch([perturbed]))
        return Drawn(None, tuple(to_device(each, images_BCHW.device) for each in taught))

    def of(self, images_BCHW: Tensor, drawn: Drawn) -> Taught:
        """The images with what was asked about them, as ``LocalTeaching`` has it."""
        teacher_MBC, *perturbed = drawn.tensors
        return Taught(images_BCHW, perturbed[0] if perturbed else None, teacher_MBC)


@contextmanager
def with_pool(job: Job, placement: Placement, common: Common) -> Iterator[OdsJob]:
    """The job without teachers, which a pool's actors hold for as long as the block lasts."""
    assert isinstance(job, OdsJob)
    with teacher_pool(job, placement, common) as pool:
        yield replace(job, pool=pool, teachers=())


@contextmanager
def teacher_pool(job: OdsJob, placement: Placement, common: Common) -> Iterator[TeacherPool]:
    """Actors that share the teachers of a job, for as long as the block lasts."""
    size, teachers = job.places_beside, len(job.teachers)
    held = tuple(tuple(range(actor, teachers, size)) for actor in range(size))
    stored = common.store(job)
    ray.get(common.mailbox.keep.remote((stored.job, stored.dataset)))
    actors = tuple(_new_actor(job, placement, common, mine) for mine in held)
    try:
        yield TeacherPool(actors, held, job.perturbation, job.config.seed)
    finally:
        for actor in actors:
            ray.kill(actor)  # type: ignore[arg-type]


def _new_actor(
    job: OdsJob, placement: Placement, common: Common, mine: Sequence[int]
) -> ActorProxy[TeacherActor]:
    create: Callable[..., ActorProxy[TeacherActor]] = (
        ray.remote(TeacherActor)
        .options(
            # In Ray's lists of actors; others may share the Ray.
            name=f"teacher-{'-'.join(map(str, mine))}-{uuid.uuid4().hex}",
            num_cpus=1,
            num_gpus=int(placement.gpus),
            # Stateless, so that asking a new one the same is right.
            max_restarts=job.config.max_failures,
            max_task_retries=-1,
        )
        .remote
    )
    return create(common.name, mine, "cuda" if placement.gpus else "cpu", placement.threads)


def fetch(references: Sequence[Any]) -> list[Any]:
    """What the actors answered. Raises WorkerFailedError, with Ray's reason, if one is dead for good."""
    try:
        return ray.get(list(references))
    except ray.exceptions.RayActorError as error:
        raise WorkerFailedError.because_of(
            error,
            "an actor of --teacher-pool died, more often than --max-failures allows or while it was "
            "being started",
        ) from error
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, RunError):
            raise error.cause from None
        raise


def as_array(tensor: Tensor) -> Array:
    """A tensor as float32 NumPy, which the object store moves without a copy."""
    array: Array = tensor.detach().float().cpu().numpy()
    return array
