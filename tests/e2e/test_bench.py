"""`scripts/bench_cohort.py` as a user runs it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.support.command import ROOT, environment

MODES = ["independent", "object_store", "collective", "in_process"]
SMOKE = ["--dataset", "synthetic", "--students", "resnet8", "--no-startup"]
SMOKE += ["--rounds", "2", "--steps-per-round", "2"]


def bench(*flags, directory):
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "bench_cohort.py"), *flags],
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=150,
    )


def test_one_table_and_all_raw_times(tmp_path):
    done = bench(*SMOKE, "--output", "bench.json", directory=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [mode for mode in MODES if f"│ {mode} " in done.stdout] == MODES
    result = json.loads((tmp_path / "bench.json").read_text())
    seconds = {mode: np.array(result["round_seconds"][mode]) for mode in MODES}
    assert {mode: len(times) for mode, times in seconds.items()} == dict.fromkeys(MODES, 2)
    for mode in MODES:
        ratios = np.median(seconds[mode] / seconds["independent"])
        speed = np.median(64 * 2 / seconds[mode])
        row = result["summary"][mode]
        assert row["step_time_vs_independent"][1] == pytest.approx(ratios)
        assert row["images_per_second"][1] == pytest.approx(speed)
        assert row["peak_memory_bytes"] > 100 * 2**20
        assert row["startup_seconds"] is None
    assert result["hardware"]["cores"] == os.cpu_count()
    assert result["config"]["seed"] == 0


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--rounds", "0"], "--rounds is 0; it must be greater than 0"),
        (["--gpus", "99"], "--gpus is 99, but this machine has "),
        (["--k", "1"], "--k is 1 with --teacher peers"),
        (["--teacher", "none"], "--teacher is 'none'"),
        (["--output", "."], "--output is '.', a directory; "),
        (["--resume", "run"], "unrecognized arguments: --resume run"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(flags, sentence, tmp_path):
    done = bench(*flags, directory=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {sentence}")
    assert len(done.stderr.splitlines()) == 1
