"""Pictures in files, decoded by one process of the node, give what pictures in memory give."""

import os
import signal

import numpy as np
import pytest
import ray

from cohort import (
    CohortConfig,
    OdsConfig,
    RunError,
    SelfDistillConfig,
    ods_distill,
    resume,
    self_distill,
    train_cohort,
)  # fmt: skip
from cohort.jobs.ods.resolve import resolve as resolve_ods
from cohort.jobs.ods.run import prepare_job as prepare_ods
from cohort.jobs.self_distill.config import resolve as resolve_self
from cohort.jobs.self_distill.run import prepare_job as prepare_self
from cohort.runtime.decoding import THREADS, ahead_of, threads_of_each
from cohort.runtime.feeding import NodeFeed
from cohort.runtime.node_feeder import kill, new_feeder
from cohort.runtime.train import prepare, resolve
from tests.support.command import wait_until
from tests.support.local_ray import ray_with_fuse
from tests.support.pictures import make_folder, make_imagenet, make_tiny_imagenet
from tests.support.workers import work_together

STEPS = 16
SMALL = "tests.support.teacher_runs:small"


@pytest.fixture(scope="module", autouse=True)
def fuse():
    with ray_with_fuse(4) as fuse:
        yield fuse


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("pictures"), classes=4, train=18, test=8)


@pytest.fixture
def data(pictures):
    return {
        "dataset": "folder", "data_root": str(pictures), "image_size": 24, "batch_size": 16,
        "epochs": 5, "steps": STEPS, "checkpoint_every": 6, "log_every": 1, "threads": 1,
        "feed": "node",
    }  # fmt: skip


@pytest.fixture
def cohort(data, tmp_path):
    """What is left of a cohort's run: the students' lines of its summary."""

    def train(name, on_step=None, **options):
        values = {**data, "students": SMALL, "run_dir": str(tmp_path / name), **options}
        summary = train_cohort(CohortConfig(**values), on_step=on_step).summary
        assert summary["status"] == "finished"
        return summary["students"]

    return train


def feeders(state=None, kind="NodeFeeder"):
    """All that ever were, or those in a state."""
    every = ray._private.state.actors().values()
    return [
        actor for actor in every
        if actor["ActorClassName"] == kind and state in (None, actor["State"])
    ]  # fmt: skip


def killing(step, kind="NodeFeeder"):
    """To be called at every step; whether it killed a feeder, or a process of it, that was then."""
    killed = []

    def on_step(record):
        if record["step"] == step and not killed:
            feeder = feeders("ALIVE", kind)[0]
            os.kill(feeder["Pid"], signal.SIGKILL)
            killed.append(feeder["ActorID"])

    return on_step, killed


def restarted(killed):
    """How often Ray started the killed feeder again."""
    (ident,) = killed
    return int(ray._private.state.actors(ident)["NumRestarts"])


@pytest.fixture(autouse=True)
def none_is_left():
    yield
    assert not feeders("ALIVE") + feeders("RESTARTING")
    wait_until(lambda: all(a["State"] == "DEAD" for a in feeders(kind="Decoder")))


@pytest.mark.slow
def test_students_learn_the_same_from_memory_and_from_the_node_though_its_feeder_dies(cohort):
    here = cohort("here", exchange="in_process")
    assert cohort("memory", exchange="in_process", feed="memory") == here
    on_step, killed = killing(7)
    before = len(feeders())
    assert cohort("there", on_step, checkpoint_every=50) == here
    assert restarted(killed) == 1
    assert len(feeders()) == before + 1, "the node has one feeder"


@pytest.mark.slow
def test_further_processes_decode_for_it_and_one_of_them_dies_and_then_the_feeder(cohort):
    kill_decoder, decoder = killing(5, "Decoder")
    kill_feeder, feeder = killing(10)
    before = len(feeders(kind="Decoder"))

    def on_step(record):
        kill_decoder(record)
        kill_feeder(record)

    there = cohort("there", on_step, checkpoint_every=50, decoders=THREADS + 1)
    assert there == cohort("here", exchange="in_process")
    assert [restarted(decoder), restarted(feeder)] == [1, 1]
    assert len(feeders(kind="Decoder")) == before + 2 + 2, "the second feeder has its own"


def test_as_few_processes_as_may_be_share_the_threads_evenly():
    assert [list(threads_of_each(n)) for n in (1, 3, 4, 8, 14)] == [
        [1], [3], [2, 2], [3, 3, 2], [3, 3, 3, 3, 2],
    ]  # fmt: skip
    assert [ahead_of(n) for n in (1, 3, 6, 7, 14)] == [4, 4, 4, 6, 10]


@pytest.mark.slow
def test_cut_outs_of_the_files_are_the_same_for_all(cohort):
    """They are never in memory."""
    options = {"crop": "resized", "cutout": 4}
    assert cohort("there", exchange="collective", **options) == cohort(
        "here", exchange="in_process", **options
    )


@pytest.mark.slow
def test_a_run_of_actors_that_stops_and_goes_on_is_the_same(cohort, tmp_path):
    def fail(record):
        if record["step"] == 9:
            raise ArithmeticError

    with pytest.raises(RunError, match="ArithmeticError"):
        cohort("run", fail, teacher="none")
    going_on = resume(tmp_path / "run", given={"exchange": "in_process", "trust_code": True})
    assert going_on.summary["students"] == cohort("here", exchange="in_process", teacher="none")


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "test"])
def test_what_cannot_be_decoded_amid_training_is_named_with_its_node(cohort, pictures, split):
    broken = pictures / split / "class2" / "0003.jpg"
    good = broken.read_bytes()

    def break_it(record):
        broken.write_bytes(b"no picture")

    told = rf"^node [\d.]+: {broken} cannot be read as a picture: [^\n]*$"
    try:
        with pytest.raises(RunError, match=told):
            cohort("run", break_it)
    finally:
        broken.write_bytes(good)


@pytest.mark.parametrize("decoders", [1, pytest.param(THREADS + 1, marks=pytest.mark.slow)])
def test_all_processes_of_a_node_read_one_batch_in_shared_memory(data, capfd, decoders):
    data["image_size"] = 64  # a batch of 196 kB: up to 100, Ray sends a copy to each
    run = prepare(resolve(CohortConfig(**data, students=SMALL)))
    stored = ray.put(run.dataset)
    node = ray.get_runtime_context().get_node_id()
    feeder = new_feeder(node)
    one, other = (NodeFeed(feeder, run.plan, [stored], decoders) for _ in range(2))
    batches = [feed.batch(3).result() for feed in (one, other)]
    assert address(batches[0].images) == address(batches[1].images)
    assert not batches[0].images.flags.writeable
    blocks = [feed.pictures(run.dataset.test.images[:9]).result() for feed in (one, other)]
    assert address(blocks[0]) == address(blocks[1])
    assert np.array_equal(blocks[0], run.dataset.test.images[:9].begin()())
    if decoders == 1:
        check_asked_again(one, batches[0])
    kill(feeder)
    assert not capfd.readouterr().err  # Ray complains of some arguments of actors


def check_asked_again(feed, batch):
    """The feeder dies, and the next one gives the same."""
    (living,) = feeders("ALIVE")
    os.kill(living["Pid"], signal.SIGKILL)
    assert np.array_equal(feed.batch(3).result().images, batch.images)
    assert restarted([living["ActorID"]]) == 1


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.slow
def test_two_workers_learn_the_same_from_memory_and_from_the_node(data, teachers, tmp_path, fuse):
    """By self-distillation on ImageNet's layout, though the feeder dies and then a worker.

    And by ODS with a pool, on Tiny-ImageNet's.
    """
    pictures = make_imagenet(tmp_path, classes=4, train=18, val=8, size=(30, 40))
    selfish = {
        **data,
        "dataset": "imagenet",
        "data_root": str(pictures),
        "crop": "shift",
        "model": "tests.support.networks:mortal_stages",
        "exits": "stages.0,stages.1",
    }
    taught = {**data, "teachers": teachers, "model": SMALL, "trust_code": True}
    del taught["dataset"], taught["data_root"], taught["image_size"]
    memory = {"workers": 2, "feed": "memory"}
    jobs = [
        prepare_self(resolve_self(SelfDistillConfig(**{**selfish, **memory}))),
        prepare_ods(resolve_ods(OdsConfig(**{**taught, **memory}))),
    ]
    expected = [told.final.weights_sha256 for told in work_together(jobs, 2, tmp_path / "memory")]
    on_step, killed = killing(7)
    fuse.touch()
    runs = [
        self_distill(
            SelfDistillConfig(**selfish, workers=2, run_dir=str(tmp_path / "self")), on_step=on_step
        ),
        ods_distill(OdsConfig(**taught, workers=2, teacher_pool=2, run_dir=str(tmp_path / "ods"))),
    ]
    fuse.unlink()
    assert [run.summary["students"][0]["weights_sha256"] for run in runs] == expected
    assert restarted(killed) == 1
    assert [run.summary["restarts"] for run in runs] == [1, 0], "which workers died?"


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    pictures = make_tiny_imagenet(tmp_path_factory.mktemp("tiny"), train=18, val=8)
    config = CohortConfig(
        dataset="tiny-imagenet", data_root=str(pictures), image_size=24, batch_size=16, epochs=2, k=2,
        teacher="none", exchange="in_process", students=SMALL, threads=1,
        run_dir=str(tmp_path_factory.mktemp("teachers") / "run"),
    )  # fmt: skip
    return str(train_cohort(config).run_dir)
