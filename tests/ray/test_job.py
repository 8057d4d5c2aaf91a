"""A job on Ray Train trains what the same job without Ray trains, though its workers die."""

import json
import shutil
from types import SimpleNamespace

import psutil
import pytest
import ray
import safetensors.torch

from cohort import ConfigError, RunError, SelfDistillConfig, resume, self_distill
from cohort.jobs.mailbox import new_mailbox, own_place, packed
from cohort.jobs.on_ray import _may_be_a_peers, _train_loop
from cohort.jobs.self_distill.config import resolve
from cohort.jobs.self_distill.run import prepare_job as prepare
from cohort.learning.data_parallel import Workers
from cohort.learning.student_files import WEIGHTS_FILE, weights_sha256
from cohort.reporting.records import read_metrics
from cohort.run.checkpoint import newest_checkpoint
from tests.support.command import wait_until
from tests.support.listening import check_loopback_alone, listening
from tests.support.local_ray import ray_with_fuse
from tests.support.networks import DEATH_STEP
from tests.support.workers import work_together

NETWORKS = "tests.support.networks"
STEPS, FAILED_AT = 24, 20


@pytest.fixture(scope="module", autouse=True)
def fuse():
    with ray_with_fuse(4) as fuse:
        yield fuse


def config(run_dir, **options):
    defaults = dict(  # noqa: C408
        dataset="digits",
        train_subset=192,
        test_subset=33,
        batch_size=32,
        steps=STEPS,
        log_every=1,
        eval_every=5,
        checkpoint_every=10,
        threads=1,
        lr=0.01,
        lr_schedule="constant",
        model=f"{NETWORKS}:mortal_stages",
        exits="stages.0,stages.1",
        run_dir=None if run_dir is None else str(run_dir),
    )
    return SelfDistillConfig(**{**defaults, **options})


def plain(run_dir, network, **options):
    """Without exits."""
    return config(run_dir, model=f"{NETWORKS}:{network}", method="none", exits=None, **options)


def records_of(run_dir):
    records = list(read_metrics(run_dir / "metrics.jsonl"))
    for record in records:
        del record["time"]
    return records


def losses(run_dir):
    records = [record for record in records_of(run_dir) if record["phase"] == "train"]
    return [(record["step"], record["loss"]) for record in records]


def summary_of(run_dir):
    summary = json.loads((run_dir / "summary.json").read_text())
    return summary["status"], summary["restarts"], summary["steps"]


@pytest.fixture(scope="module")
def failed(tmp_path_factory, fuse):
    """A run of two workers, one of which dies at step 12, and again after both went on from 10.

    What the first two still write is not taken.
    """
    run_dir = tmp_path_factory.mktemp("failed") / "run"
    before, late = {}, []

    def write_late(record):
        """A worker that was replaced, and lives on elsewhere, is still heard of when others begin."""
        (name,) = (n for n in ray.util.list_named_actors() if n.startswith("mailbox-"))
        mailbox = ray.get_actor(name)
        if record["step"] == DEATH_STEP - 1 and not before:
            before.update(ray.get(mailbox.places.remote()))
        elif record["step"] == FAILED_AT - 1 and not late:
            leading = before[0]
            ray.get(mailbox.tell.remote(packed("notice", "late"), leading))
            ray.get(mailbox.save.remote(FAILED_AT + 1, {}, leading))
            late.append(ray.get(mailbox.wishes.remote(leading)).stopping)

    fuse.touch()
    with pytest.raises(RunError, match="died; that makes 2 deaths, and --max-failures is 1"):
        self_distill(config(run_dir, workers=2, max_failures=1), on_step=write_late)
    fuse.unlink()
    assert late == [True], "nobody wrote, or who did was not asked to stop"
    return run_dir


def test_a_worker_that_dies_changes_nothing(fuse, tmp_path):
    fuse.touch()
    run = self_distill(plain(tmp_path / "run", "dying", workers=1))
    assert not fuse.exists(), "the fault did not fire"
    assert summary_of(run.run_dir) == ("finished", 1, STEPS)
    undisturbed = self_distill(plain(tmp_path / "undisturbed", "dying", workers=0))
    assert losses(run.run_dir) == losses(undisturbed.run_dir)
    assert run.summary["students"] == undisturbed.summary["students"]


@pytest.mark.slow
def test_killed_workers_change_nothing_until_the_budget_is_exhausted(failed, tmp_path):
    assert summary_of(failed) == ("failed", 1, FAILED_AT)
    job = prepare(resolve(config(None, workers=2, steps=FAILED_AT)))
    (undisturbed,) = work_together([job], 2, tmp_path / "undisturbed")
    expected = [(record["step"], record["loss"]) for record in undisturbed.records]
    assert losses(failed)[:FAILED_AT] == expected
    saved = newest_checkpoint(failed / "checkpoints")
    assert saved.step == FAILED_AT
    weights = safetensors.torch.load(saved.load(0)[WEIGHTS_FILE])
    restored = SimpleNamespace(state_dict=lambda: weights)
    assert weights_sha256(restored) == undisturbed.final.weights_sha256


@pytest.mark.slow
def test_a_worker_that_is_stopped_is_ended_and_replaced(tmp_path):
    """Ray Train would wait for it for minutes."""
    stopped = []

    def stop(record):
        if record["step"] == FAILED_AT and not stopped:
            below = psutil.Process().children(recursive=True)
            stopped.extend(p for p in below if "RayTrainWorker" in "".join(p.cmdline()[:1]))
            stopped[0].suspend()

    options = {"model": "resnet8", "method": "none", "exits": None}
    run = self_distill(config(tmp_path / "run", workers=1, hang_after=2.0, **options), on_step=stop)
    assert len(stopped) == 1
    assert not stopped[0].is_running(), "the fault did not fire"
    assert summary_of(run.run_dir) == ("finished", 1, STEPS)
    undisturbed = self_distill(config(tmp_path / "undisturbed", workers=0, **options))
    assert losses(run.run_dir) == losses(undisturbed.run_dir)
    assert run.summary["students"] == undisturbed.summary["students"]


@pytest.mark.slow
def test_one_worker_ends_what_two_began_bit_for_bit_as_no_ray_does(failed, tmp_path):
    places = {workers: tmp_path / str(workers) for workers in (0, 1)}
    for place in places.values():
        shutil.copytree(failed, place)
    here, there = (resume(d, given={"workers": n, "trust_code": True}) for n, d in places.items())
    assert there.summary["steps"] == STEPS
    assert records_of(there.run_dir) == records_of(here.run_dir)
    assert there.summary["students"] == here.summary["students"]
    assert there.summary["ensemble"] == here.summary["ensemble"]

    alone = self_distill(config(tmp_path / "alone", workers=0))
    assert [step for step, _ in losses(there.run_dir)] == list(range(1, STEPS + 1))
    of_both = [[loss for _, loss in losses(run.run_dir)] for run in (there, alone)]
    assert of_both[0] == pytest.approx(of_both[1], rel=5e-3)


@pytest.mark.parametrize(
    ("network", "sentence", "workers"),
    [
        ("diverging", "^student 0: the loss is not finite at step 11", 0),
        pytest.param(
            *("raising", "^ArithmeticError: the network of this test raises here .details in", 1),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_the_program_does_wrong_is_not_tried_again(tmp_path, network, sentence, workers):
    before = len(train_workers())
    with pytest.raises(RunError, match=sentence):
        self_distill(plain(tmp_path / "run", network, workers=workers))
    assert summary_of(tmp_path / "run") == ("failed", 0, 10)
    assert len(train_workers()) == before + workers


def train_workers():
    """All that ever were."""
    every = ray._private.state.actors().values()
    return [actor for actor in every if "RayTrainWorker" in actor["ActorClassName"]]


def test_of_several_workers_none_tries_it_again(monkeypatch):
    """An error of the program is told from what a peer's death does; who starts again ends at once."""
    assert not _may_be_a_peers(ArithmeticError(), Workers(0, 2))
    assert _may_be_a_peers(RuntimeError("Connection closed by peer"), Workers(0, 2))
    assert not _may_be_a_peers(RuntimeError(), Workers(0, 1))

    mailbox = new_mailbox((0, None))
    ray.get(mailbox.renew.remote([own_place()]))
    ray.get(mailbox.fail.remote(b"", own_place()))
    context = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 2)
    monkeypatch.setattr("ray.train.get_context", lambda: context)
    _train_loop({"mailbox": mailbox})  # without a job
    assert ray.get(mailbox.waiting.remote()) == 1  # the failure; it did not even begin


@pytest.mark.slow
def test_workers_do_not_go_on_without_the_one_who_records(tmp_path):
    """The Ray is not the job's own, and stays when it fails. Meanwhile all listen on loopback alone."""

    def fail(record):
        check_loopback_alone(listening(), "RayTrainWorker", "Mailbox")
        raise ArithmeticError("this test's own")

    endless = plain(tmp_path / "run", "slow", workers=2, steps=None, epochs=10_000)
    with pytest.raises(RunError, match="this test's own"):
        self_distill(endless, on_step=fail)
    wait_until(lambda: ray.available_resources().get("CPU") == 4, seconds=60)


def test_more_workers_than_the_cluster_has_cores_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"--workers is 32.*4 cores place at most 4; use") as no:
        self_distill(config(tmp_path / "run", workers=32))
    assert "--address of a larger cluster" in str(no.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_busy_cluster_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "2")
    all_cores = ray.util.placement_group([{"CPU": 4}])
    ray.get(all_cores.ready())
    try:
        with pytest.raises(RunError, match="did not start in time: the cluster's cores"):
            self_distill(config(tmp_path / "run", workers=1))
    finally:
        ray.util.remove_placement_group(all_cores)
    assert summary_of(tmp_path / "run") == ("failed", 0, 0)
