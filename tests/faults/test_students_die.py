"""A student's process is killed in the middle of a step: nothing of the run is lost or falsified."""

import json
import multiprocessing
from pathlib import Path

import psutil
import pytest
import ray
import torch

from cohort import CohortConfig, RunError, train_cohort
from cohort.models.registry import build_network
from cohort.reporting.records import read_metrics
from cohort.run.checkpoint import newest_checkpoint
from cohort.run.folder import RunFolder
from cohort.runtime.actors import RayCohort
from cohort.runtime.coordinator import Coordinator
from cohort.runtime.joining import wait_until_joined
from cohort.runtime.warm_up import GroupUnusableError
from tests.support.command import wait_until
from tests.support.groups import Mortal, Silent, answer
from tests.support.local_ray import ray_with_fuse
from tests.support.networks import OF_SURVIVORS, RECOVERING

NETWORKS = "tests.support.networks"
FAULTY = "tests.support.faulty:faulty"
STEPS = 20


@pytest.fixture(scope="module", autouse=True)
def ray_and_fuse():
    with ray_with_fuse(4) as fuse:
        yield fuse


def config(run_dir, **options):
    defaults = dict(  # noqa: C408
        dataset="digits",
        train_subset=256,
        test_subset=32,
        batch_size=32,
        steps=STEPS,
        checkpoint_every=5,
        log_every=1,
        students=("resnet8", f"{NETWORKS}:dying", f"{NETWORKS}:late"),
        k=3,
        threads=1,
        run_dir=str(run_dir),
    )
    return CohortConfig(**{**defaults, **options})


@pytest.fixture
def late(ray_and_fuse, monkeypatch):
    """The fuse of a survivor whose message is still to come when the recovery begins."""
    fuse, recovering = (Path(f"{ray_and_fuse}{name}") for name in (OF_SURVIVORS, RECOVERING))
    casualties = RayCohort.casualties

    def begin(cohort):
        wait_until(lambda: not fuse.exists())  # it is held back now
        recovering.touch()
        return casualties(cohort)

    monkeypatch.setattr(RayCohort, "casualties", begin)
    monkeypatch.setattr("cohort.runtime.in_flight.ERROR_SECONDS", 0.2)
    fuse.touch()
    yield fuse
    recovering.unlink()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file that students start from."""
    return write_weights(tmp_path_factory.mktemp("weights") / "resnet8.pt")


def write_weights(file):
    torch.manual_seed(1)
    network = build_network("resnet8", num_classes=7, image_shape=(1, 8, 8))
    torch.save(network.state_dict(), file)
    return file


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, weights):
    """Summary and records of the run whose fuse is not armed."""
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    options = {"exchange": "in_process", "pretrained": str(weights)}
    summary = train_cohort(config(run_dir, **options)).summary
    return hashes(summary), losses(run_dir)


def hashes(summary):
    return [student["weights_sha256"] for student in summary["students"]]


def losses(run_dir):
    records = [r for r in read_metrics(RunFolder(run_dir).metrics) if r["phase"] == "train"]
    return sorted((r["step"], r["student"], r["loss"]) for r in records)


def test_a_cohort_whose_students_die_equals_an_undisturbed_one(
    ray_and_fuse, late, undisturbed, weights, tmp_path
):
    """A host of two in the middle of a step, before there is a checkpoint of a later one, then all at once.

    What the other host still says in the group reaches nobody. The weights that they started from are
    gone by then.
    """
    ray_and_fuse.touch()
    first, victims = [], []

    def kill_everybody(record):
        """Even survivors need not exist: the checkpoint is the whole cohort."""
        weights.unlink(missing_ok=True)
        if record["step"] == STEPS - 4 and not victims:
            first.append(ray_and_fuse.exists())
            victims.extend(p.pid for p in students_of_this_run())
            for pid in victims:
                multiprocessing.process.os.kill(pid, 9)

    options = {"exchange": "collective", "checkpoint_every": 14, "pretrained": str(weights)}
    options["per_process"] = 2
    result = train_cohort(config(tmp_path / "run", **options), on_step=kill_everybody)
    assert first == [False], "the first fault did not fire"
    assert not late.exists(), "no message was late"
    assert len(victims) == 2
    assert result.summary["restarts"] == 3
    assert result.summary["status"] == "finished"
    assert hashes(result.summary) == undisturbed[0]
    assert losses(tmp_path / "run") == undisturbed[1]


@pytest.mark.parametrize(
    "exchange", ["object_store", pytest.param("collective", marks=pytest.mark.slow)]
)
def test_a_host_that_is_stopped_is_ended_and_replaced(undisturbed, tmp_path, exchange):
    """Ray would wait for it for ever, and its peers in a group for minutes."""
    stopped = []

    def stop_one(record):
        if record["step"] == 12 and record["phase"] == "train" and not stopped:
            stopped.append(students_of_this_run()[-1])
            stopped[0].suspend()

    weights = str(write_weights(tmp_path / "w.pt"))
    options = {"exchange": exchange, "pretrained": weights, "hang_after": 2.0, "per_process": 2}
    summary = train_cohort(config(tmp_path / "run", **options), on_step=stop_one).summary
    assert not stopped[0].is_running(), "the fault did not fire"
    assert (summary["status"], summary["restarts"]) == ("finished", 1)
    assert hashes(summary) == undisturbed[0]
    assert losses(tmp_path / "run") == undisturbed[1]


@pytest.mark.slow
def test_hosts_whose_group_hangs_leave_it_for_the_object_store(
    ray_and_fuse, late, undisturbed, tmp_path, monkeypatch
):
    """Before step 0, all together; one that dies later finds the way that is left.

    What a survivor still shows reaches nobody who went back.
    """
    remote = ray.remote(max_restarts=0, max_task_retries=0)(Silent)
    monkeypatch.setattr("cohort.runtime.actors.RemoteHost", remote)
    monkeypatch.setattr("cohort.runtime.joining.WARM_UP_SECONDS", 3)
    ray_and_fuse.touch()
    options = {"exchange": "collective", "pretrained": str(write_weights(tmp_path / "w.pt"))}
    summary = train_cohort(config(tmp_path / "run", **options)).summary
    assert not ray_and_fuse.exists(), "the fault did not fire"
    assert not late.exists(), "no message was late"
    assert summary["notices"] == [
        "--exchange collective does not work here (3 of 3 hosts did not answer within 3 s); "
        "posteriors travel through the object store instead"
    ]
    assert summary["restarts"] == 1
    assert hashes(summary) == undisturbed[0]
    times = [
        (host["busy_seconds_per_epoch"], host["wait_seconds_per_epoch"])
        for host in summary["hosts"]
    ]
    assert [host["students"] for host in summary["hosts"]] == [[0], [1], [2]]
    assert all(busy > 0 and waited > 0 for busy, waited in times)


def test_a_group_that_does_not_work_and_a_host_that_died_are_told_apart():
    """Whatever the others say: a host's death is what they complain of."""
    member = ray.remote(num_cpus=0.1, max_retries=0)(answer)
    dying = ray.remote(num_cpus=0.1)(Mortal).remote()
    wait_until_joined([member.remote(None)])
    for error, words in [
        (GroupUnusableError("host 1 heard nothing"), "^host 1 heard nothing$"),
        (ValueError("no such backend\nat all"), "^ValueError: no such backend$"),
    ]:
        with pytest.raises(GroupUnusableError, match=words):
            wait_until_joined([member.remote(None), member.remote(error)])
    with pytest.raises(ray.exceptions.RayActorError):
        wait_until_joined([member.remote(GroupUnusableError("a peer is gone")), dying.die.remote()])


def students_of_this_run():
    """Processes of hosts below this one."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if "HostActor" in "".join(process.cmdline()[:1])
    ]


def test_a_host_is_dropped_with_its_students_and_the_others_go_on(ray_and_fuse, tmp_path):
    ray_and_fuse.touch()
    students = ("resnet8", f"{NETWORKS}:dying", "resnet8", "resnet8")
    options = {"on_failure": "drop", "students": students, "k": 4, "per_process": 2}
    result = train_cohort(config(tmp_path / "run", **options))
    assert not ray_and_fuse.exists(), "the fault did not fire"
    summary = result.summary
    assert (summary["dropped"], summary["restarts"]) == ([0, 1], 0)
    assert [student["student"] for student in summary["students"]] == [2, 3]
    seen = {(step, student) for step, student, _ in losses(tmp_path / "run")}
    assert seen == {(s, k) for s in range(1, 21) for k in range(4) if s <= 10 or k > 1}
    assert checkpoint_of(tmp_path / "run").students == (2, 3)


def test_a_run_that_a_death_ends_keeps_its_checkpoint(tmp_path):
    alone = {"k": 1, "teacher": "none", "students": f"{NETWORKS}:always_dying"}
    with pytest.raises(RunError, match="student 0 died, and --on-failure is stop"):
        train_cohort(config(tmp_path / "run", **alone, on_failure="stop"))
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["steps"], summary["restarts"]) == ("failed", 10, 0)
    assert checkpoint_of(tmp_path / "run").step == 10


def test_a_loss_that_is_not_finite_names_student_and_step(tmp_path):
    """See test_bit_identity for students that exchange posteriors on Ray, here and below."""
    students = ("resnet8", f"{NETWORKS}:diverging")
    with pytest.raises(RunError, match="student 1: the loss is not finite at step 11"):
        train_cohort(config(tmp_path / "run", k=2, students=students, exchange="in_process"))
    assert checkpoint_of(tmp_path / "run").step == 10


@pytest.mark.parametrize(
    "options",
    [
        {"k": 1, "teacher": "none", "students": f"{NETWORKS}:raising"},
        pytest.param(
            {"k": 1, "teacher": "none", "students": FAULTY, "steps": 12, "checkpoint_every": 10},
            marks=pytest.mark.slow,
        ),
        {"k": 2, "exchange": "in_process", "students": (f"{NETWORKS}:raising", "resnet8")},
    ],
    ids=["on Ray", "on Ray, in a snapshot", "in_process"],
)
def test_an_error_in_the_network_ends_the_run_with_its_own_words(ray_and_fuse, tmp_path, options):
    if options["students"] == FAULTY:
        ray_and_fuse.write_text(
            json.dumps({"fault": "exception", "phase": "checkpoint", "step": 11})
        )
    with pytest.raises(RunError, match=r"^ArithmeticError: the network of this test raises here"):
        train_cohort(config(tmp_path / "run", **options))
    log = (tmp_path / "run" / "error.log").read_text()
    assert "in act" in log or "in raised" in log
    assert checkpoint_of(tmp_path / "run").step == 10


def checkpoint_of(run_dir):
    """The newest."""
    checkpoint = newest_checkpoint(RunFolder(run_dir).checkpoints)
    assert checkpoint is not None
    return checkpoint


@pytest.mark.slow
def test_a_death_before_the_first_step_or_after_the_last_one_is_like_any_other(
    tmp_path, monkeypatch
):
    options = {"k": 2, "students": "resnet8", "steps": 5}
    here = config(tmp_path / "undisturbed", exchange="in_process", **options)
    undisturbed = train_cohort(here).summary
    for moment in ("_begin", "_write_students"):
        with monkeypatch.context() as patch:
            patch.setattr(Coordinator, moment, deadly(getattr(Coordinator, moment)))
            summary = train_cohort(config(tmp_path / moment, **options)).summary
        assert (summary["status"], summary["restarts"]) == ("finished", 1)
        assert hashes(summary) == hashes(undisturbed)


def deadly(method):
    """The same, but the first time the first host's process is killed before."""
    victims = []

    def run(coordinator):
        if not victims:
            victims.append(psutil.Process(coordinator.cohort.places[0]["pid"]))
            victims[0].kill()
            victims[0].wait()
        return method(coordinator)

    return run
