"""A run that is stopped in any way, and resumed, ends with the students of an undisturbed one."""

import json
import os
import re
import signal
from functools import partial

import pytest
import ray

from cohort import CohortConfig, ConfigError, train_cohort
from tests.support import networks
from tests.support.command import (
    PATIENCE,
    left_by,
    run_here,
    start,
    steps_done,
    stop_at,
    wait_until,
)

FLAGS = [
    *("--dataset", "synthetic", "--image-size", 8),  # without scikit-learn, a second to import
    *("--students", "tests.support.networks:slow", "--train-subset", 128, "--test-subset", 32),
    *("--batch-size", 16, "--epochs", 8, "--checkpoint-every", 5, "--log-every", 1, "--threads", 1),
]
HERE = ("--exchange", "in_process")
ON_RAY = ("--exchange", "object_store")
TRUSTED = ("--trust-code",)


@pytest.fixture(scope="module", autouse=True)
def quick_here():
    """Only processes that are to be stopped have to be slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "PAUSE", 0)
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    config = CohortConfig(
        dataset="synthetic",
        image_size=8,
        students="tests.support.networks:slow",
        train_subset=128,
        test_subset=32,
        batch_size=16,
        epochs=8,
        threads=1,
        exchange="in_process",
        run_dir=str(tmp_path_factory.mktemp("undisturbed") / "run"),
    )
    return hashes(train_cohort(config).summary)


@pytest.fixture
def here(monkeypatch, capsys):
    """A command in this process."""
    return partial(run_here, monkeypatch, capsys)


def hashes(summary):
    return [student["weights_sha256"] for student in summary["students"]]


def summary_of(run_dir):
    return json.loads((run_dir / "summary.json").read_text())


def more(run_dir):
    """A step that only a run which goes on from here will record, past its next checkpoint."""
    return steps_done(run_dir) + 8


def test_interrupted_on_a_ray_of_its_own_it_goes_on_without(undisturbed, here, tmp_path):
    run_dir = tmp_path / "run"
    interrupt(start(*FLAGS, *ON_RAY, "--run-dir", run_dir), run_dir, 3, tmp_path)
    code, out, err = here("--resume", run_dir, *TRUSTED, *HERE, "--address", "local", "--baseline")
    assert (code, err) == (0, ""), out + err
    check_is_as(undisturbed, run_dir)
    check_compares_with_the_same_alone(out, run_dir)


@pytest.mark.slow
def test_terminated_interrupted_and_killed(undisturbed, ray_of_four, here, tmp_path):
    """SIGTERM; Ctrl-C on a Ray of its own; SIGKILL on another Ray; the end: one result.

    With and without Ray, in one process and in two, for what a run goes on from is the same.
    """
    run_dir = tmp_path / "run"
    assert stop_at(start(*FLAGS, *HERE, "--run-dir", run_dir), run_dir, 3, signal.SIGTERM) == 130
    assert summary_of(run_dir)["status"] == "interrupted"

    step = more(run_dir)
    interrupt(start("--resume", run_dir, *TRUSTED, *ON_RAY), run_dir, step, tmp_path)

    address = ray.get_runtime_context().gcs_address
    step, moved = (
        more(run_dir),
        start("--resume", run_dir, *TRUSTED, *ON_RAY, "--per-process", 2, "--address", address),
    )
    assert stop_at(moved, run_dir, step, signal.SIGKILL) == -9
    assert left_by(moved) == set()
    wait_until(nobody_trains)  # a cluster that goes on has its cores back

    code, out, err = here("--resume", run_dir, *TRUSTED, *HERE, "--address", "local")
    assert (code, err) == (0, ""), out + err
    check_is_as(undisturbed, run_dir)


def interrupt(process, run_dir, step, tmp_path):
    """Ctrl-C, as a terminal gives it: to Ray's processes as well. Nothing of Ray is told or left."""
    wait_until(lambda: steps_done(run_dir) >= step or process.poll() is not None)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, out + err
    assert err == "stopping after this step; a second signal stops at once\n"
    assert left_by(process) == set()
    check_tells_nothing_of_ray(out, tmp_path)
    assert f"--resume {run_dir} --trust-code\n" in out
    summary = summary_of(run_dir)
    assert summary["status"] == "interrupted"
    saved = sorted((run_dir / "checkpoints").iterdir())[-1]
    assert int(saved.name.removeprefix("step_")) == summary["steps"] == steps_done(run_dir)


def check_is_as(undisturbed, run_dir):
    assert hashes(summary_of(run_dir)) == undisturbed
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    trained = [(r["step"], r["student"]) for r in lines if r["phase"] == "train"]
    assert sorted(trained) == [(step, k) for step in range(1, 65) for k in (0, 1)]


def nobody_trains():
    return ray.available_resources().get("CPU") == 4


def check_tells_nothing_of_ray(out, tmp_path):
    text = out.replace(str(tmp_path), "")
    assert not re.search(r"ray|raylet|WARNING|INFO|Traceback|\(pid", text), text


def check_compares_with_the_same_alone(out, run_dir):
    assert "step 64/64 (100 %)" in out
    assert re.search(r"ensemble alone +", out)
    assert re.search(r"0 alone +tests\.support\.networks:slow", out)
    assert summary_of(run_dir / "alone")["status"] == "finished"


def test_a_finished_run_can_be_extended(here, tmp_path):
    """Fewer steps first, then all: as if they had been asked for at once."""
    flags = ("--train-subset", 128, "--test-subset", 32, "--batch-size", 16, "--epochs", 3)
    flags += ("--threads", 1, *HERE)
    assert here(*flags, "--steps", 10, "--run-dir", tmp_path / "a")[0] == 0
    assert here("--resume", tmp_path / "a", "--steps", 24)[0] == 0
    assert here(*flags, "--run-dir", tmp_path / "b")[0] == 0
    assert hashes(summary_of(tmp_path / "a")) == hashes(summary_of(tmp_path / "b"))
    code, _, err = here("--resume", tmp_path / "a", "--steps", 5)
    assert code == 2
    assert "24 steps are done" in err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--k", 900), ("--k is 900", "at most", "8 a core")),
        (("--gpus", 77), ("--gpus is 77", "--gpus")),
    ],
)
def test_a_cohort_that_does_not_fit_is_refused(
    ray_of_four, here, tmp_path, monkeypatch, flags, words
):
    monkeypatch.chdir(tmp_path)
    code, out, err = here(*flags, "--students", "resnet8")
    assert code == 2, out + err
    assert len(err.splitlines()) == 1
    assert all(word in err for word in words), err
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_others_occupy_is_not_waited_for_for_ever(
    ray_of_four, tmp_path, monkeypatch
):
    monkeypatch.setattr("cohort.runtime.reservation.PLACEMENT_SECONDS", 2.0)
    taken = ray.util.placement_group([{"CPU": 1}] * 4)
    ray.get(taken.ready())
    config = CohortConfig(students="resnet8", k=2, threads=1, run_dir=str(tmp_path / "run"))
    with pytest.raises(ConfigError, match="need 2 CPUs and 0 GPUs, but others left 0 CPUs"):
        train_cohort(config)
    assert not (tmp_path / "run").exists()
    ray.util.remove_placement_group(taken)
    groups = ray.util.placement_group_table().values()
    assert any(group["name"].startswith("students-") for group in groups), "theirs has no name"
