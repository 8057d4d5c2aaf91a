"""A job on Ray Train: a TorchTrainer's workers run the loop, the driver records what they tell."""

import contextlib
import os
import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, nullcontext
from functools import partial
from typing import Any

from cohort.runtime import private_ray

os.environ.update(private_ray.FOR_TRAIN | os.environ)

import ray
import ray.train
import torch
from ray.actor import ActorProxy
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, get_device

from cohort.errors import RunError
from cohort.imports import one_line
from cohort.jobs.common import Beside, Common, StoredJob
from cohort.jobs.departures import Departures
from cohort.jobs.feeding import fed
from cohort.jobs.group import GroupConfig
from cohort.jobs.job import Job
from cohort.jobs.mailbox import Mailbox, Place, new_mailbox, own_place
from cohort.jobs.placement import Placement
from cohort.jobs.post import Inbox, Post, WorkerFailedError
from cohort.jobs.recorder import Recorder
from cohort.jobs.worker import work
from cohort.learning.data_parallel import Workers
from cohort.learning.precision import check_device
from cohort.learning.process import own_process
from cohort.runtime.guard import explained
from cohort.runtime.liveness import Watched
from cohort.runtime.preemption import NodeNotices
from cohort.runtime.watch import Watch

POLL_SECONDS = 0.2


@explained()
def run_on_ray(job: Job, recorder: Recorder, placement: Placement, beside: Beside | None) -> None:
    """Train to the end, or until the recorder is asked to stop; ``beside`` starts other actors.

    Raises RunError if a worker's program failed, or workers died more often than allowed.
    """
    name = f"mailbox-{uuid.uuid4().hex}"  # others may share the Ray
    mailbox = new_mailbox(recorder.beginning(), name)
    common = Common(mailbox, name, ray.put(job.dataset))
    failures: list[RunError] = []
    others = nullcontext(job) if beside is None else beside(job, placement, common)
    with others as job, closing(NodeNotices()) as nodes, _fitting(job, common, placement) as fit:
        told = False
        inbox = Inbox(mailbox, job.config.hang_after, recorder.notice)
        departures = Departures(mailbox, inbox.ask, recorder.notice, nodes, recorder.owner.settle)
        watch = Watch(
            partial(_watched, mailbox, inbox),
            hang_after=job.config.hang_after,
            tell=recorder.notice,
        )
        silence = watch.begin("message")
        # The last messages may come between a look into the mailbox and the end of the fit.
        while fit.running or inbox.ask(mailbox.waiting.remote()):
            news = list(inbox.messages(POLL_SECONDS))
            if news:
                if news[0][0] != "begin":  # or workers were started, which takes longer
                    silence.over()
                silence = watch.begin("message")
            elif silence.late:
                silence.look()
            for name, args, kwargs in news:
                if name == "failed":
                    failures.append(args[0])
                    continue
                getattr(recorder, name)(*args, **kwargs)
                if name == "save":
                    departures.saved(args[0])
            departures.look()
            if recorder.stopping() and not told:
                inbox.ask(mailbox.stop.remote())
                told = True
    if failures:
        raise failures[0]
    if fit.error is not None:
        raise _explained(fit.error, job.config.max_failures) from fit.error


def _watched(mailbox: ActorProxy[Mailbox], inbox: Inbox) -> list[Watched]:
    """The processes of workers, and of those that teach them."""
    processes: Mapping[str, Place] = inbox.ask(mailbox.processes.remote())
    return [Watched(who, at.node, at.pid) for who, at in processes.items()]


class _Fit:
    """``TorchTrainer.fit`` in a thread: the main one listens to signals and writes records."""

    def __init__(self, trainer: TorchTrainer, mailbox: ActorProxy[Mailbox]) -> None:
        self.error: Exception | None = None
        self._trainer = trainer
        self._mailbox = mailbox
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether there may still be messages to come."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._trainer.fit()
        except Exception as error:
            self.error = error
        finally:
            with contextlib.suppress(Exception):  # Ray may be gone, and the feeders with it
                ray.get(self._mailbox.end_feeders.remote())


@contextlib.contextmanager
def _fitting(job: Job, common: Common, placement: Placement) -> Iterator[_Fit]:
    # Ray Train's own notes, and where workers meet; checkpoints and results are in the run's folder.
    notes = tempfile.mkdtemp(prefix="cohort-", dir=private_ray.session_folder())
    trainer = TorchTrainer(
        _train_loop,
        train_loop_config={
            "job": common.store(job),
            "mailbox": common.mailbox,
            "threads": placement.threads,
        },
        torch_config=GroupConfig(
            backend="nccl" if placement.gpus else "gloo",
            mailbox=common.mailbox,
            folder=notes,
            node=ray.get_runtime_context().get_node_id(),
        ),
        scaling_config=ScalingConfig(
            num_workers=placement.workers,
            use_gpu=placement.gpus,
            resources_per_worker={"CPU": 1} | ({"GPU": 1} if placement.gpus else {}),
        ),
        run_config=RunConfig(
            name="job",
            storage_path=notes,
            failure_config=FailureConfig(
                max_failures=job.config.max_failures, **private_ray.NO_WAITING
            ),
        ),
    )
    fit = _Fit(trainer, common.mailbox)
    try:
        yield fit
    finally:
        if fit.running:  # we failed; the workers, if the Ray is not ours, would go on
            common.mailbox.stop.remote()
        shutil.rmtree(notes, ignore_errors=True)


def _train_loop(config: Mapping[str, Any]) -> None:
    """What Ray Train runs on every worker."""
    context = ray.train.get_context()
    workers = Workers(context.get_world_rank(), context.get_world_size())
    mailbox: ActorProxy[Mailbox] = config["mailbox"]
    own = own_place()
    beginning = ray.get(mailbox.begin.remote(workers.rank, own))
    if beginning is None:
        return
    stored: StoredJob[Job] = config["job"]
    busy = context.get_local_world_size() * config["threads"]
    job = fed(stored.take(), mailbox, stored.dataset, busy=busy)
    own_process(config["threads"], job.config.precision)
    post = Post(mailbox, beginning, own)
    try:
        check_device(job.config.precision, get_device())
        work(job, workers, get_device(), post)
    except Exception as error:
        if _may_be_a_peers(error, workers):
            raise
        # Ray Train would begin again; what the program does wrong, it would do wrong again.
        post.failed(_told(error))
        if workers.size > 1:
            raise  # or the others would wait for this one


def _may_be_a_peers(error: Exception, workers: Workers) -> bool:
    """Whether it is what a collective raises when another worker has died."""
    of_collectives = isinstance(error, torch.distributed.DistError) or type(error) is RuntimeError
    return workers.size > 1 and of_collectives


def _told(error: Exception) -> RunError:
    if isinstance(error, RunError):
        return error
    return WorkerFailedError.because_of(error, one_line(error))


def _explained(error: Exception, max_failures: int) -> RunError:
    """Ray Train's error as a sentence."""
    failures: Mapping[int, Exception] = getattr(error, "worker_failures", {})
    dead = [rank for rank, failure in failures.items() if private_ray.is_a_dead_worker(failure)]
    if dead:
        return RunError(
            f"worker {', '.join(map(str, sorted(dead)))} died; that makes {max_failures + 1} deaths, "
            f"and --max-failures is {max_failures}"
        )
    if private_ray.did_not_start(error):
        return RunError(
            "the workers did not start in time: the cluster's cores or GPUs are busy, or a node was "
            "lost; try again later, or with fewer --workers"
        )
    cause = next(iter(failures.values()), error)
    return WorkerFailedError.because_of(error, one_line(cause))
