"""Ray itself ends under a run, as it does where memory runs out."""

import json
import signal
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.command import environment, launch, left_by, start, wait_until

KILLED = """
import ray, time
from cohort.runtime.session import ray_session
with ray_session():
    print(ray.get(ray.put(1)), flush=True)
    time.sleep(600)
"""


def test_a_sentence_a_summary_and_nothing_left(tmp_path):
    """And the run goes on with --resume, as after any other end (test_students_die has that).

    The raylet: Ray itself ends the driver ten seconds later. See test_own_ray for the GCS.
    """
    run_dir = tmp_path / "run"
    patient = ("--students", "tests.support.networks:slow", "--batch-size", 16)
    process = start(*patient, "--epochs", 500, "--log-every", 1, "--run-dir", run_dir)
    records = run_dir / "metrics.jsonl"
    wait_until(lambda: process.poll() is not None or (records.exists() and records.stat().st_size))
    below = psutil.Process(process.pid).children(recursive=True)
    victim = next(each for each in below if each.name() == "raylet")
    victim.send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    words = "Ray ended under the run (its raylet was killed, perhaps for memory); --resume the run"
    failed, told = err.splitlines()
    assert (process.returncode, failed) == (1, f"failed: {words}")
    logs = Path(told.removeprefix("Ray's logs are in "))
    assert (logs / "raylet.out").is_file()
    assert left_by(process) == {f"ray/{logs.parent.name}", "ray/session_latest"}
    summary = json.loads((run_dir / "summary.json").read_text())
    assert (summary["status"], summary["error"]) == ("failed", words)
    _, left = psutil.wait_procs(below, timeout=30)
    assert left == []


@pytest.mark.slow
def test_ray_ends_with_a_driver_that_is_killed(tmp_path):
    """Within ten seconds; its folder stays, for later runs to remove (see test_session_folders)."""
    process = launch([sys.executable, "-c", KILLED], tmp_path, environment())
    assert process.stdout.readline() == "1\n"
    below = psutil.Process(process.pid).children(recursive=True)
    assert {"raylet", "gcs_server"} < {each.name() for each in below}
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(below, timeout=10)
    assert alive == []
    (folder,) = left_by(process) - {"ray/session_latest"}
    assert folder.startswith("ray/session_2")
