"""Ray itself ends under a run, as it does where memory runs out."""

import json
import signal

import psutil

from tests.support.command import start, wait_until


def test_a_sentence_a_summary_and_nothing_left(tmp_path):
    """And the run goes on with --resume, as after any other end (test_students_die has that).

    The raylet: Ray itself ends the driver ten seconds later. See test_own_ray for the GCS.
    """
    run_dir = tmp_path / "run"
    process = start("--k", 2, "--epochs", 500, "--log-every", 1, "--run-dir", run_dir)
    records = run_dir / "metrics.jsonl"
    wait_until(lambda: process.poll() is not None or (records.exists() and records.stat().st_size))
    below = psutil.Process(process.pid).children(recursive=True)
    victim = next(each for each in below if each.name() == "raylet")
    victim.send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    words = "Ray ended under the run (its raylet was killed, perhaps for memory); --resume the run"
    assert (process.returncode, err) == (1, f"failed: {words}\n")
    summary = json.loads((run_dir / "summary.json").read_text())
    assert (summary["status"], summary["error"]) == ("failed", words)
    _, left = psutil.wait_procs(below, timeout=30)
    assert left == []
