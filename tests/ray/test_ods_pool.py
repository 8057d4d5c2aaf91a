"""Teachers as actors on Ray teach what teachers in the student's process teach, though one dies."""

import json

import pytest
import ray

from cohort import ConfigError, OdsConfig, RunError, ods_distill
from cohort.data.dataset import ImageDataset
from cohort.jobs.job import Job
from cohort.reporting.records import read_metrics
from tests.support.local_ray import local_ray
from tests.support.networks import FUSE, OF_TEACHERS
from tests.support.teacher_runs import deep_ensemble

STEPS = 12


@pytest.fixture(scope="module", autouse=True)
def ray_and_fuse(tmp_path_factory):
    """The fuse's place is in the environment before Ray starts, so that actors inherit it."""
    fuse = tmp_path_factory.mktemp("fuse") / "fuse"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FUSE, str(fuse))
        with local_ray(4):
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
        teachers=teachers, model="resnet8", batch_size=32, steps=STEPS, checkpoint_every=5,
        log_every=1, threads=1, run_dir=str(run_dir),
    )  # fmt: skip
    return OdsConfig(**{**defaults, **options})


@pytest.fixture(scope="module")
def here(teachers, tmp_path_factory):
    """Without Ray."""
    return ods_distill(config(teachers, tmp_path_factory.mktemp("here") / "run", workers=0))


def records_of(result):
    records = list(read_metrics(result.run_dir / "metrics.jsonl"))
    for record in records:
        del record["time"]
    return records


def assert_same(there, here):
    assert records_of(there) == records_of(here)
    for key in ("students", "teachers", "teacher_diversity", "best", "ensemble"):
        assert there.summary[key] == here.summary[key], key


def test_a_pool_teaches_the_same_though_an_actor_dies(teachers, here, tmp_path, ray_and_fuse):
    """Two actors for three teachers; one is killed in the middle and started again."""
    assert len(records_of(here)) > STEPS
    fuse = ray_and_fuse.with_name(ray_and_fuse.name + OF_TEACHERS)
    fuse.touch()
    there = ods_distill(config(teachers, tmp_path / "run", workers=1, teacher_pool=2))
    assert not fuse.exists(), "the fault did not fire"
    assert there.summary["restarts"] == 0  # no worker died
    assert there.summary["teacher_restarts"] == 1
    assert_same(there, here)


def test_two_workers_ask_one_pool_though_one_of_them_dies(teachers, here, tmp_path, ray_and_fuse):
    """The actor lives on; both workers go back to the checkpoint and ask it again."""
    ray_and_fuse.touch()
    network = "tests.support.networks:dying"  # a resnet8 with the same weights
    options = {"workers": 2, "teacher_pool": 1, "model": network}
    there = ods_distill(config(teachers, tmp_path / "run", **options))
    assert not ray_and_fuse.exists(), "the fault did not fire"
    assert there.summary["restarts"] == 1
    steps = [r["step"] for r in records_of(there) if r["phase"] == "train"]
    assert steps == list(range(1, STEPS + 1))
    losses = [
        [r["loss"] for r in records_of(run) if r["phase"] == "train"] for run in (there, here)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=5e-3)
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5)
    for line, expected in zip(there.summary["teachers"], here.summary["teachers"], strict=True):
        assert line == pytest.approx(expected, rel=1e-5)


def test_an_actor_that_dies_too_often_ends_the_run(teachers, tmp_path, ray_and_fuse):
    fuse = ray_and_fuse.with_name(ray_and_fuse.name + OF_TEACHERS)
    fuse.touch()
    told = r"^an actor of --teacher-pool died, more often than --max-failures .*details in \S+error.log"
    with pytest.raises(RunError, match=told):
        ods_distill(config(teachers, tmp_path / "run", teacher_pool=1, max_failures=0))
    assert not fuse.exists(), "the fault did not fire"
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["restarts"], summary["teacher_restarts"]) == ("failed", 0, 0)
    assert "ActorDiedError" in (tmp_path / "run" / "error.log").read_text()


def test_the_data_are_stored_once(teachers, tmp_path, monkeypatch):
    """For workers and actors together; a job without images is small."""
    stored, put = [], ray.put
    monkeypatch.setattr(ray, "put", lambda value: stored.append(value) or put(value))
    ods_distill(config(teachers, tmp_path / "run", teacher_pool=2, steps=1))
    data = [value for value in stored if isinstance(value, ImageDataset)]
    assert [len(dataset.train) for dataset in data] == [96]
    jobs = [value.dataset for value in stored if isinstance(value, Job)]
    assert len(jobs) == 2
    for dataset in jobs:
        assert (len(dataset.train), len(dataset.test), dataset.validation) == (0, 0, None)
        assert dataset.image_shape == (1, 8, 8)


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
