"""Teachers as actors on Ray teach what teachers in the student's process teach, though one dies."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import ray
import torch

from cohort import ConfigError, OdsConfig, ods_distill
from cohort.data.source import BatchSource
from cohort.jobs.ods_prepare import prepare
from cohort.jobs.ods_resolve import resolve
from cohort.jobs.teacher_pool import TeacherActor, TeacherPool
from cohort.reporting.records import read_metrics
from tests.support.local_ray import local_ray
from tests.support.networks import FUSE, OF_TEACHERS
from tests.support.teacher_runs import deep_ensemble

STEPS = 16


@pytest.fixture(scope="module", autouse=True)
def fuse(tmp_path_factory):
    """The fuse's place is in the environment before Ray starts, so that actors inherit it."""
    place = tmp_path_factory.mktemp("fuse") / "fuse"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FUSE, str(place))
        with local_ray(4):
            yield place


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
    )  # fmt: skip
    return OdsConfig(**{**defaults, **options})


def records_of(result):
    records = list(read_metrics(result.run_dir / "metrics.jsonl"))
    for record in records:
        del record["time"]
    return records


def test_a_pool_teaches_the_same_though_an_actor_dies_and_the_worker(teachers, tmp_path, fuse):
    """Two actors for three teachers; the one killed is asked again, and so is the one that is not."""
    here = ods_distill(config(teachers, tmp_path / "here", workers=0))
    assert len(records_of(here)) > STEPS
    of_teachers = fuse.with_name(fuse.name + OF_TEACHERS)
    of_teachers.touch()
    fuse.touch()
    there = ods_distill(config(teachers, tmp_path / "there", workers=1, teacher_pool=2))
    assert not of_teachers.exists(), "no actor died"
    assert not fuse.exists(), "the worker did not die"
    assert there.summary["restarts"] == 1  # the worker's; actors do not count
    assert records_of(there) == records_of(here)
    for key in ("students", "teachers", "teacher_diversity", "best", "ensemble"):
        assert there.summary[key] == here.summary[key], key


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
def test_a_pool_teaches_every_worker_its_part_of_the_batch(teachers, perturbation):
    job = prepare(resolve(config(teachers, None, teacher_pool=2, perturbation=perturbation)))
    held = ((0, 2), (1,))
    actors = [TeacherActor([ray.put(job)], mine, "cpu", 1) for mine in held]
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
