"""The real `self_distill.py`: stopped in any way and resumed, it ends as if undisturbed."""

import json
import os
import re
import signal

import pytest

from cohort import SelfDistillConfig, load_student, self_distill
from cohort.models.early_exit import MultiExitStudent
from cohort.reporting.records import read_metrics
from tests.support import networks
from tests.support.command import (
    PATIENCE,
    SELF_DISTILL,
    here,
    left_by,
    start,
    steps_done,
    stop_at,
    wait_until,
)

FLAGS = [
    *("--dataset", "synthetic", "--image-size", 8),  # without scikit-learn, a second to import
    *("--model", "tests.support.networks:slow_stages", "--exits", "stages.0,stages.1"),
    *("--train-subset", 128, "--test-subset", 32, "--batch-size", 16, "--epochs", 8),
    *("--checkpoint-every", 5, "--log-every", 1, "--threads", 1),
]


@pytest.fixture(scope="module", autouse=True)
def quick_here():
    """Only processes that are to be stopped have to be slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "PAUSE", 0)
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """In this process, without Ray."""
    config = SelfDistillConfig(
        dataset="synthetic",
        image_size=8,
        model="tests.support.networks:slow_stages",
        exits="stages.0,stages.1",
        train_subset=128,
        test_subset=32,
        batch_size=16,
        epochs=8,
        log_every=1,
        threads=1,
        workers=0,
        run_dir=str(tmp_path_factory.mktemp("undisturbed") / "run"),
    )
    return self_distill(config)


def summary_of(run_dir):
    return json.loads((run_dir / "summary.json").read_text())


def losses(run_dir):
    return [
        (record["step"], record["loss"], record["exits"]["accuracy"])
        for record in read_metrics(run_dir / "metrics.jsonl")
        if record["phase"] == "train"
    ]


@pytest.mark.slow
def test_killed_interrupted_and_resumed(undisturbed, tmp_path):
    """SIGKILL, then Ctrl-C on Ray Train, then to the end without Ray: one run's result."""
    run_dir = tmp_path / "run"
    process = start(*FLAGS, "--workers", 0, "--run-dir", run_dir, script=SELF_DISTILL)
    assert stop_at(process, run_dir, 12, signal.SIGKILL) == -9
    assert not (run_dir / "summary.json").exists()

    step = steps_done(run_dir) + 15  # which only the run that goes on will record
    process = start("--resume", run_dir, "--trust-code", "--workers", 1, script=SELF_DISTILL)
    wait_until(lambda: steps_done(run_dir) >= step or process.poll() is not None)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to Ray's processes as well
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, out + err
    assert f"self_distill.py --resume {run_dir} --trust-code\n" in out
    assert "Traceback" not in out + err
    assert left_by(process) == set()
    assert summary_of(run_dir)["status"] == "interrupted"
    saved = sorted((run_dir / "checkpoints").iterdir())[-1]
    assert int(saved.name.removeprefix("step_")) == summary_of(run_dir)["steps"]

    code, out, err = here("--resume", run_dir, "--trust-code", "--workers", 0, script=SELF_DISTILL)
    assert (code, err) == (0, ""), out + err
    assert re.search(r"everything is in", out)
    summary = summary_of(run_dir)
    (student,) = summary["students"]
    assert student["weights_sha256"] == undisturbed.summary["students"][0]["weights_sha256"]
    assert losses(run_dir) == losses(undisturbed.run_dir)


def test_what_a_run_leaves_behind(undisturbed):
    summary = summary_of(undisturbed.run_dir)
    assert summary["status"] == "finished"
    (student,) = summary["students"]
    assert [line["exit"] for line in student["exits"]] == [1, 2, 3]
    assert student["exits"][-1]["test_accuracy"] == student["test_accuracy"]
    costs = [line["multiply_adds"] for line in student["exits"]]
    assert costs == sorted(costs)
    assert set(summary["ensemble"]) == {"test_accuracy", "test_nll", "test_brier", "test_ece"}
    loaded = load_student(undisturbed.run_dir / "students" / "0", trust_code=True)
    assert isinstance(loaded, MultiExitStudent)
    assert loaded.network.num_exits == 3
