"""A student's process is killed in the middle of a step: nothing of the run is lost or falsified."""

import json
import multiprocessing

import psutil
import pytest

from cohort import CohortConfig, RunError, train_cohort
from cohort.learning.checkpoint import newest_checkpoint
from cohort.reporting.records import read_metrics
from cohort.run_folder import RunFolder
from tests.support.local_ray import local_ray
from tests.support.networks import FUSE

NETWORKS = "tests.support.networks"
STEPS = 20


@pytest.fixture(scope="module", autouse=True)
def ray_and_fuse(tmp_path_factory):
    """The fuse's place is in the environment before Ray starts, so that students inherit it."""
    fuse = tmp_path_factory.mktemp("fuse") / "fuse"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FUSE, str(fuse))
        with local_ray(4):
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
        students=("resnet8", f"{NETWORKS}:dying", "resnet8"),
        k=3,
        run_dir=str(run_dir),
    )
    return CohortConfig(**{**defaults, **options})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Summary and records of the run whose fuse is not armed."""
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    summary = train_cohort(config(run_dir, exchange="in_process", threads=1)).summary
    return hashes(summary), losses(run_dir)


def hashes(summary):
    return [student["weights_sha256"] for student in summary["students"]]


def losses(run_dir):
    records = [r for r in read_metrics(RunFolder(run_dir).metrics) if r["phase"] == "train"]
    return sorted((r["step"], r["student"], r["loss"]) for r in records)


@pytest.mark.parametrize(
    "options",
    [
        {"exchange": "object_store"},
        {"exchange": "collective"},
        {"exchange": "object_store", "checkpoint_every": 100},
    ],
    ids=["object_store", "collective", "back to step 0"],
)
def test_a_restarted_cohort_equals_an_undisturbed_one(ray_and_fuse, undisturbed, tmp_path, options):
    ray_and_fuse.touch()
    result = train_cohort(config(tmp_path / "run", threads=1, **options))
    assert not ray_and_fuse.exists(), "the fault did not fire"
    assert result.summary["restarts"] == 1
    assert result.summary["status"] == "finished"
    assert hashes(result.summary) == undisturbed[0]
    assert losses(tmp_path / "run") == undisturbed[1]


def test_a_dropped_student_leaves_the_others_learning(ray_and_fuse, tmp_path):
    ray_and_fuse.touch()
    result = train_cohort(config(tmp_path / "run", on_failure="drop", threads=1))
    assert not ray_and_fuse.exists(), "the fault did not fire"
    summary = result.summary
    assert (summary["dropped"], summary["restarts"]) == ([1], 0)
    assert [student["student"] for student in summary["students"]] == [0, 2]
    seen = {(step, student) for step, student, _ in losses(tmp_path / "run")}
    assert seen == {(s, k) for s in range(1, 21) for k in (0, 1, 2) if s <= 10 or k != 1}
    saved = newest_checkpoint(RunFolder(tmp_path / "run").checkpoints)
    assert saved is not None
    assert saved.students == (0, 2)


def test_on_failure_stop_ends_the_run_and_keeps_the_checkpoint(ray_and_fuse, tmp_path):
    ray_and_fuse.touch()
    with pytest.raises(RunError, match="student 1 died, and --on-failure is stop"):
        train_cohort(config(tmp_path / "run", on_failure="stop", threads=1))
    assert not ray_and_fuse.exists(), "the fault did not fire"
    folder = RunFolder(tmp_path / "run")
    summary = json.loads(folder.summary.read_text())
    assert (summary["status"], summary["steps"]) == ("failed", 10)
    checkpoint = newest_checkpoint(folder.checkpoints)
    assert checkpoint is not None
    assert checkpoint.step == 10


def test_a_student_that_always_dies_ends_the_run(tmp_path):
    students = ("resnet8", f"{NETWORKS}:always_dying")
    with pytest.raises(RunError, match="3 deaths, and --max-failures is 2"):
        train_cohort(
            config(
                tmp_path / "run",
                k=2,
                students=students,
                max_failures=2,
                steps=80,
                checkpoint_every=20,
                threads=1,
            )
        )


def test_all_students_dying_at_once_start_again(ray_and_fuse, undisturbed, tmp_path):
    """Even survivors need not exist: the checkpoint is the whole cohort."""
    victims = []

    def kill_everybody(record):
        if record["step"] == 8 and not victims:
            victims.extend(p.pid for p in students_of_this_run())
            for pid in victims:
                multiprocessing.process.os.kill(pid, 9)

    result = train_cohort(config(tmp_path / "run", threads=1), on_step=kill_everybody)
    assert len(victims) == 3
    assert result.summary["restarts"] == 3
    assert hashes(result.summary) == undisturbed[0]


def students_of_this_run():
    """Processes of Student actors below this one."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if "Student" in "".join(process.cmdline()[:1])
    ]


@pytest.mark.parametrize("exchange", ["object_store", "collective", "in_process"])
def test_a_loss_that_is_not_finite_names_student_and_step(tmp_path, exchange):
    students = ("resnet8", f"{NETWORKS}:diverging")
    wanted = config(tmp_path / "run", k=2, students=students, exchange=exchange, threads=1)
    with pytest.raises(RunError, match="student 1: the loss is not finite at step 11"):
        train_cohort(wanted)
    checkpoint = newest_checkpoint(RunFolder(tmp_path / "run").checkpoints)
    assert checkpoint is not None
    assert checkpoint.step == 10


@pytest.mark.parametrize("exchange", ["object_store", "collective", "in_process"])
def test_an_error_in_the_network_ends_the_run_with_its_own_words(tmp_path, exchange):
    students = (f"{NETWORKS}:raising", "resnet8")
    wanted = config(tmp_path / "run", k=2, students=students, exchange=exchange, threads=1)
    with pytest.raises(RunError, match=r"ArithmeticError: the network of this test raises here"):
        train_cohort(wanted)
    log = (tmp_path / "run" / "error.log").read_text()
    assert "in act" in log
