"""The run of a job: on Ray Train or in this process, and its one student written down."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import safetensors.torch
import torch

from cohort.config import check_precision
from cohort.data.registry import dataset_label
from cohort.errors import ConfigError
from cohort.jobs.config import JobConfig
from cohort.jobs.job import STUDENT, Job
from cohort.jobs.placement import Placement, place
from cohort.jobs.recorder import Recorder
from cohort.jobs.worker import Best, work
from cohort.learning.compiling import check_machine
from cohort.learning.data_parallel import Workers
from cohort.learning.feeding import fed_here
from cohort.learning.learner import WEIGHTS_FILE, Files
from cohort.learning.precision import check_device
from cohort.learning.process import lent_process
from cohort.learning.student_files import ModelCard
from cohort.machine import cores
from cohort.models.normalised import Normalised
from cohort.models.spec import Network
from cohort.run.checkpoint import Checkpoint
from cohort.run.ending import prefixed, write_student
from cohort.run.owner import Owner
from cohort.run.ready import Ready, Run
from cohort.run.restoring import check_restores
from cohort.runtime.own_ray import check_sockets, ray_to_start, starts_ray
from cohort.runtime.placement import Node, check_threads, this_machine

if TYPE_CHECKING:  # it knows Ray
    from cohort.jobs.common import Beside

BEST_FOLDER = "best"
"""Below the student's own folder, which has the last weights."""


@dataclass(frozen=True, kw_only=True)
class JobRun(Run):
    """A job, and who runs it."""

    config: JobConfig
    job: Job
    beside: "Beside | None" = None
    """Starts what runs on the cluster beside the workers, if anything does."""

    @classmethod
    def of(cls, job: Job, method: str, network: Network, beside: "Beside | None" = None) -> Self:
        """The run of a job by some method; ``network`` is the student's, as the config has it."""
        workers = job.config.workers
        return cls(
            config=job.config,
            plan=job.plan,
            dataset=job.dataset,
            name=f"{dataset_label(job.config)}-{method}",
            greeting=f"starting {_counted(workers)}",
            networks=(network,),
            names={STUDENT: job.network},
            largest_network=job.parameters,
            job=job,
            beside=beside,
        )

    def check_restores(self, checkpoint: Checkpoint) -> None:
        """Restore the student, and load the best one so far."""

        def load_best(files: Files) -> None:
            if best := Best.of_files(files):
                self.student(STUDENT).load_state_dict(safetensors.torch.load(best.weights))

        run_dir, learner = self.config.run_dir, self.job.restorable()
        check_restores(checkpoint, STUDENT, learner, run_dir, beside=load_best)

    def student(self, number: int) -> Normalised:
        """The student at step 0."""
        return self.job.student()

    def check_fits_here(self) -> None:
        """Raise ConfigError for what this machine does not have, if the job is to run on it."""
        check_here(self.config, self.job.places_beside)

    def ray_to_start(self) -> str | None:
        """A Ray of the job's own, or the cluster that it joins."""
        return None if self.config.in_this_process else ray_to_start(self.config.address)

    def session(self) -> AbstractContextManager[None]:
        """The Ray of workers that are actors."""
        if self.config.in_this_process:
            return nullcontext()
        from cohort.runtime.session import ray_session  # a job in this process never imports Ray

        return ray_session(self.config.address)

    @contextmanager
    def placed(self, places: Any) -> Iterator[Ready]:
        """What each worker gets is decided; Ray Train takes it when it starts them."""
        assert places is None, "the workers of a job ask for their places themselves"
        placement = self._placement()
        config = replace(self.config, threads=placement.threads)  # without which none repeats it
        yield Ready(config, partial(JobTraining, self, placement))

    def _placement(self) -> Placement:
        if self.config.in_this_process:
            return _here(self.config)
        from cohort.runtime.session import cluster_nodes

        return _placed_on(cluster_nodes(), self.config, self.job.places_beside)


def _counted(workers: int) -> str:
    if workers == 0:
        return "in this process"
    return f"{workers} worker{'s' * (workers > 1)}"


def check_here(config: JobConfig, beside: int = 0) -> None:
    """Raise ConfigError for what this machine does not have, if it is known that the job runs here.

    It is known of one in this process, and of one that starts a Ray, for which nothing is read yet;
    ``beside`` as ``place`` has it.
    """
    if config.in_this_process:
        _here(config)
    elif starts_ray(config.address):
        check_sockets()
        _placed_on([this_machine()], config, beside)


def _placed_on(nodes: Sequence[Node], config: JobConfig, beside: int) -> Placement:
    """What each worker gets of these nodes. Raises ConfigError for what they do not have."""
    check_threads(nodes, config.threads, config.decoders)
    placement = place(nodes, config.workers, config.gpus, config.threads, beside=beside)
    check_precision(config.precision, on_gpu=placement.gpus)
    check_machine(config, on_gpu=placement.gpus)
    return placement


class JobTraining:
    """Trains the one student of a job for the owner of its run."""

    def __init__(self, run: JobRun, placement: Placement, owner: Owner) -> None:
        self._run = run
        self._job = run.job
        self._placement = placement
        self._owner = owner
        self._recorder = Recorder(owner)

    def train(self) -> bool:
        """Train to the plan's last step, or until the owner is to stop; whether that was reached."""
        owner = self._owner
        if owner.start and owner.checkpoint is None:  # workers begin as if they went on from step 0
            fresh = self._job.restorable().snapshot()
            owner.save(0, [(STUDENT, owner.fresh(STUDENT, fresh))])
        if self._placement.workers == 0:
            _train_here(self._job, self._recorder, self._placement)
        else:
            from cohort.jobs.on_ray import run_on_ray

            run_on_ray(self._job, self._recorder, self._placement, self._run.beside)
        return self._recorder.final is not None

    def about(self) -> dict[str, Any]:
        """The method, its constants, and how many workers there were."""
        restarts = self._owner.progress.teacher_restarts
        beside = {"teacher_restarts": restarts} if self._job.places_beside else {}
        return {**beside, **self._job.named_constants(), "workers": self._job.config.workers}

    def finish(self) -> dict[str, Any]:
        """Write the student's final weights and its best; what the summary says of them."""
        job, evaluation, final = self._job, self._recorder.evaluation, self._recorder.final
        assert final is not None
        folder = self._owner.folder.student(STUDENT)
        card = ModelCard.of(job.network, job.dataset)
        write_student(folder, final.files[WEIGHTS_FILE], card)
        if final.best is not None:
            write_student(folder / BEST_FOLDER, final.best.weights, card)
        measured = dict(evaluation[STUDENT])
        details = job.student_details(measured, folder)
        line = {
            "student": STUDENT,
            "model": job.network,
            "parameters": job.parameters,
            **prefixed(measured),
            "train_entropy": final.train_entropy,
            "weights_sha256": final.weights_sha256,
            **job.compared(evaluation[STUDENT], final.concluded),
            **details,
        }
        best = {"best": _best_line(final.best, job, final.concluded)} if final.best else {}
        return {"students": [line], **job.endings(evaluation, final.concluded), **best}


def _here(config: JobConfig) -> Placement:
    """In this process: one GPU or none."""
    available = torch.cuda.device_count()
    if (config.gpus or 0) > min(available, 1):
        raise ConfigError(
            f"--gpus is {config.gpus} with --workers 0, which runs in one process on a machine with "
            f"{available} GPUs; use --gpus {min(available, 1)}, or --workers {config.gpus}"
        )
    check_threads([this_machine()], config.threads, config.decoders)
    on_gpu = bool(available) and config.gpus != 0
    check_device(config.precision, torch.device("cuda" if on_gpu else "cpu"))
    check_machine(config, on_gpu=on_gpu)
    return Placement(0, on_gpu, config.threads or cores())


def _train_here(job: Job, recorder: Recorder, placement: Placement) -> None:
    """In this process, which gets its torch threads, precision and random state back."""
    decoders, busy = job.config.decoders, placement.threads
    device = torch.device("cuda" if placement.gpus else "cpu")
    with (
        lent_process(placement.threads, job.config.precision),
        fed_here(job.dataset, job.plan, decoders=decoders, busy=busy) as dataset,
    ):
        work(replace(job, dataset=dataset), Workers(), device, recorder)


def _best_line(best: Best, job: Job, concluded: Mapping[str, Any]) -> dict[str, Any]:
    """The student as it did best on the validation split, beside the last one."""
    numbers = {
        f"{split}_{name}": value
        for split, measured in (("validation", best.validation), ("test", best.test))
        for name, value in measured.items()
        if not isinstance(value, dict | list)
    }
    return {
        "step": best.step,
        "epoch": job.plan.epoch(best.step),
        **numbers,
        **job.compared(best.test, concluded),
    }
