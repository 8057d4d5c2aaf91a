"""Teachers as actors on Ray teach what teachers in the student's process teach, though one dies."""

import json
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest
import ray
import torch

from cohort import ConfigError, OdsConfig, RunError, ods_distill
from cohort.data.dataset import ImageDataset
from cohort.data.source import BatchSource
from cohort.jobs.common import Common
from cohort.jobs.job import Job
from cohort.jobs.ods.pool import TeacherActor, TeacherPool
from cohort.jobs.ods.resolve import resolve
from cohort.jobs.ods.run import prepare_job as prepare
from cohort.reporting.records import read_metrics
from tests.support.listening import check_loopback_alone, listening
from tests.support.local_ray import ray_with_fuse
from tests.support.networks import OF_TEACHERS
from tests.support.teacher_runs import deep_ensemble

STEPS = 16


@pytest.fixture(scope="module", autouse=True)
def fuse():
    with ray_with_fuse(4) as fuse:
        yield fuse


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Three, one of whose forward passes kills its process while the fuse is there."""
    return deep_ensemble(
        tmp_path_factory.mktemp("teachers") / "run",
        students="tests.support.networks:dying_teacher", validation=40,
    )  # fmt: skip


def config(teachers, run_dir, **options):
    defaults = dict(  # noqa: C408
        teachers=teachers, model="tests.support.networks:dying", batch_size=32, steps=STEPS,
        checkpoint_every=5, log_every=1, threads=1, run_dir=run_dir and str(run_dir),
        trust_code=True,
    )  # fmt: skip
    return OdsConfig(**{**defaults, **options})


def records_of(result):
    records = list(read_metrics(result.run_dir / "metrics.jsonl"))
    for record in records:
        del record["time"]
    return records


@pytest.fixture
def stored(monkeypatch):
    """What is put into the object store by this process."""
    values, put = [], ray.put
    monkeypatch.setattr(ray, "put", lambda value: values.append(value) or put(value))
    return values


@pytest.mark.slow
def test_a_pool_teaches_the_same_though_an_actor_dies_and_the_worker(
    teachers, tmp_path, fuse, stored, capfd
):
    """Two actors for three teachers; the one killed is asked again, and so is the one that is not."""
    here = ods_distill(config(teachers, tmp_path / "here", workers=0))
    assert len(records_of(here)) > STEPS
    of_teachers = fuse.with_name(fuse.name + OF_TEACHERS)
    of_teachers.touch()
    fuse.touch()
    seen, before = set(), set(pool_actors())
    there = ods_distill(
        config(teachers, tmp_path / "there", workers=1, teacher_pool=2),
        on_step=lambda record: seen.update(seen or listening()),
    )
    names = {name.rpartition("-")[0] for name in set(pool_actors()) - before}
    assert names == {"teacher-0-2", "teacher-1"}
    check_loopback_alone(seen, "TeacherActor", "RayTrainWorker")
    assert not of_teachers.exists(), "no actor died"
    assert not fuse.exists(), "the worker did not die"
    assert (there.summary["restarts"], there.summary["teacher_restarts"]) == (1, 1)
    assert records_of(there) == records_of(here)
    for key in ("students", "teachers", "teacher_diversity", "best", "ensemble"):
        assert there.summary[key] == here.summary[key], key
    check_data_are_stored_once(stored)
    assert "arguments in the object store" not in capfd.readouterr().err  # what Ray may complain of


def pool_actors():
    """The names of all that ever were: this Ray is not this file's alone."""
    every = ray._private.state.actors().values()
    return [actor["Name"] for actor in every if actor["ActorClassName"] == "TeacherActor"]


def check_data_are_stored_once(stored):
    """For workers and actors together; a job without images is small."""
    data = [value for value in stored if isinstance(value, ImageDataset)]
    assert [len(dataset.train) for dataset in data] == [96]
    jobs = [value.dataset for value in stored if isinstance(value, Job)]
    assert len(jobs) == 2
    for dataset in jobs:
        assert (len(dataset.train), len(dataset.test), dataset.validation) == (0, 0, None)
        assert dataset.image_shape == (1, 8, 8)


@pytest.mark.slow
def test_an_actor_that_is_stopped_is_ended_and_asked_again(teachers, tmp_path):
    """The worker waits for it, and Ray would wait for ever."""
    stopped = []

    def stop(record):
        if record["step"] == 8 and not stopped:
            below = psutil.Process().children(recursive=True)
            stopped.extend(p for p in below if "TeacherActor" in "".join(p.cmdline()[:1]))
            stopped[0].suspend()

    options = {"model": "resnet8", "hang_after": 2.0}
    there = ods_distill(
        config(teachers, tmp_path / "there", workers=1, teacher_pool=1, **options), on_step=stop
    )
    assert len(stopped) == 1
    assert not stopped[0].is_running(), "the fault did not fire"
    assert (there.summary["restarts"], there.summary["teacher_restarts"]) == (0, 1)
    here = ods_distill(
        config(teachers, tmp_path / "here", workers=0, **options | {"hang_after": None})
    )
    assert records_of(there) == records_of(here)


@pytest.mark.slow
def test_an_actor_that_dies_too_often_ends_the_run(teachers, tmp_path, fuse):
    of_teachers = fuse.with_name(fuse.name + OF_TEACHERS)
    of_teachers.touch()
    told = r"^an actor of --teacher-pool died, more often than --max-failures .*details in \S+error.log"
    with pytest.raises(RunError, match=told):
        ods_distill(config(teachers, tmp_path / "run", teacher_pool=1, max_failures=0))
    assert not of_teachers.exists(), "the fault did not fire"
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["restarts"], summary["teacher_restarts"]) == ("failed", 0, 0)
    assert "ActorDiedError" in (tmp_path / "run" / "error.log").read_text()


class Here:
    """A handle of an actor in this process."""

    def __init__(self, actor):
        self._actor = actor

    def __getattr__(self, method):
        def remote(*arguments):
            given = [ray.get(a) if isinstance(a, ray.ObjectRef) else a for a in arguments]
            return ray.put(getattr(self._actor, method)(*given))

        return SimpleNamespace(remote=remote)


@pytest.mark.parametrize("perturbation", ["conf_ods", "gaussian", "none"])
def test_a_pool_teaches_every_worker_its_part_of_the_batch(teachers, perturbation, monkeypatch):
    job = prepare(resolve(config(teachers, None, teacher_pool=2, perturbation=perturbation)))
    held = ((0, 2), (1,))
    common = Common(None, "", ray.put(job.dataset))  # nobody is told
    stored = common.store(job)
    context = SimpleNamespace(
        was_current_actor_reconstructed=False, get_node_id=lambda: "here", get_worker_id=lambda: "a"
    )
    monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
    entered = {}
    kept = {"kept": lambda: (stored.job, stored.dataset), "enter": entered.__setitem__}
    mailbox = Here(SimpleNamespace(**kept))
    monkeypatch.setattr(ray, "get_actor", {"mailbox": mailbox}.get)
    actors = [TeacherActor("mailbox", mine, "cpu", 1) for mine in held]
    assert set(entered) == {"the actor of teachers 0, 2", "the actor of teachers 1"}
    assert torch.backends.cudnn.conv.fp32_precision == "ieee"  # as in any process of a run in fp32
    pool = TeacherPool(tuple(map(Here, actors)), held, job.perturbation, job.config.seed)
    for rank in (0, 1):
        alone = replace(job, config=replace(job.config, teacher_pool=None))
        worker = SimpleNamespace(rank=rank, size=2)
        expected = alone.teaching(worker, torch.device("cpu"))
        asked = replace(job, pool=pool, teachers=()).teaching(worker, torch.device("cpu"))
        images = BatchSource(
            job.dataset.train, batch_size=32, seed=job.plan.seed, augmentation=job.dataset.augmentation,
            device="cpu", shard=(rank, 2),
        )  # fmt: skip
        for step in range(4):
            batch = images.batch(step)[0]
            assert len(batch) == 16
            for one, other in zip(asked(step, batch), expected(step, batch), strict=True):
                assert (one is other is None) or torch.equal(one, other)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"teacher_pool": 4}, "--teacher-pool is 4, but there are 3 teachers.*at most 3"),
        ({"teacher_pool": 3, "workers": 2}, "--workers 2 and --teacher-pool 3 need 5 places.*most 4"),
    ],
)  # fmt: skip
def test_more_actors_than_teachers_or_places_are_refused(teachers, tmp_path, options, words):
    with pytest.raises(ConfigError, match=words):
        ods_distill(config(teachers, tmp_path / "run", **options))
    assert not (tmp_path / "run").exists()
