"""The real `sweep.py`: a study that is killed and interrupted, and goes on, is the undisturbed one."""

import contextlib
import json
import math
import os
import re
import signal
import statistics
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from cohort.reporting.records import read_metrics
from cohort.tuning.folder import StudyFolder
from cohort.tuning.measurements import state_of
from cohort.tuning.results.table import comparable
from tests.support.command import PATIENCE, run, run_here, start, steps_done, wait_until

SWEEP = "sweep.py"
SLOW = "tests.support.networks:slow"
EVERY, STEPS = 5, 40
SIZE = {
    "dataset": "digits",
    "train_subset": 100,
    "test_subset": 40,
    "batch_size": 10,
    "epochs": 4,
    "checkpoint_every": EVERY,
    "log_every": 1,
}
IN_PROCESS = {"k": 2, "exchange": "in_process", "students": SLOW}
ONE = {"command": "self_distill", "workers": 0, "model": SLOW}
STUDY = {
    "base": SIZE,
    "runs": {"teacher": {**ONE, **SIZE, "method": "none"}},
    "space": {
        "arm": {
            "cases": {
                "mutual": {"command": "launch_cohort", **IN_PROCESS},
                "distilled": {**ONE, "method": "kd", "teacher": "run:teacher"},
            }
        }
    },
    "seeds": [0, 1],
    "metric": "test_accuracy",
    "mode": "max",
    "max_concurrent": 2,  # on a machine with more cores too, some trials come after others
    "report": {
        "baseline": {"arm": "mutual"},
        "metrics": ["test_accuracy", "test_nll"],
        "figure": {"kind": "bars", "y": ["test_accuracy"]},
    },
}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return written(tmp_path_factory.mktemp("study") / "tiny.yaml", STUDY)


@pytest.fixture(scope="module")
def undisturbed(file):
    """The study's folder, and what the command printed."""
    path = file.parent / "undisturbed"
    code, out, err = run(file, "--study-dir", path, script=SWEEP)
    assert (code, err) == (0, ""), out + err
    return StudyFolder(path), out


def written(path, document):
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def summary_of(run_dir):
    return json.loads((run_dir / "summary.json").read_text())


def runs_in(folder, state):
    """Run folders of a state; none if there is no folder yet."""
    found = folder.iterdir() if folder.exists() else ()
    return sorted(run_dir for run_dir in found if state_of(run_dir) == state)


def past_a_checkpoint(folder):
    """Runs that have begun, and not ended, with a checkpoint to go on from."""
    return [run_dir for run_dir in runs_in(folder, "running") if steps_done(run_dir) > EVERY]


def training(folder, since):
    """Those that have got on in this session, and not over the middle."""
    return [
        run_dir
        for run_dir in past_a_checkpoint(folder)
        if steps_done(run_dir) <= STEPS / 2 and times(run_dir)[-1] > since
    ]


def times(run_dir):
    """When the steps were recorded, in their order."""
    records = read_metrics(run_dir / "metrics.jsonl")
    return [r["time"] for r in sorted(records, key=lambda r: r["step"]) if r["phase"] == "train"]


def untouched(folder):
    """What identifies the summaries of finished runs, for no file that is written again keeps it."""
    files = (run_dir / "summary.json" for run_dir in runs_in(folder, "finished"))
    return {str(file): (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


def end_by(process, number, condition):
    """Send a signal once the condition holds; returns when nothing of the command trains any more."""
    wait_until(lambda: condition() or process.poll() is not None)
    assert process.poll() is None, f"ended too early: {process.communicate()}"
    # A terminal's Ctrl-C reaches the whole group; of SIGKILL the others have to find out themselves.
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    out, err = process.communicate(timeout=PATIENCE)
    wait_until(lambda: not workers_of(process))  # they train until they notice
    return process.returncode, out, err


def workers_of(process):
    """Ray's workers of a command, also of one that has died: in its session, each the head of a group."""
    found = []
    for pid in (int(entry.name) for entry in Path("/proc").glob("[0-9]*")):
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            if os.getsid(pid) == process.pid != os.getpgid(pid):
                found.append(pid)
    return found


def check_went_on(run_dir, moment):
    """A run was begun before the moment and ended after it, with no step missing or repeated."""
    records = read_metrics(run_dir / "metrics.jsonl")
    trained = [(r["step"], r["student"]) for r in records if r["phase"] == "train"]
    students = [line["student"] for line in summary_of(run_dir)["students"]]
    assert sorted(trained) == [(step, k) for step in range(1, STEPS + 1) for k in students]
    recorded = times(run_dir)
    assert recorded[EVERY * len(students) - 1] < moment, (run_dir, moment, recorded)
    assert recorded[-1] > moment, (run_dir, moment, recorded)


def test_killed_and_interrupted_and_killed_again_it_is_the_same_study(file, undisturbed, tmp_path):
    """SIGKILL of the preparation, Ctrl-C, SIGKILL amid the trials, and to the end: one table."""
    folder = StudyFolder(tmp_path / "study")
    common = (file, "--study-dir", folder.path)

    began = time.time()
    process = start(*common, script=SWEEP)
    code, *_ = end_by(process, signal.SIGKILL, lambda: training(folder.runs, began))
    assert code == -signal.SIGKILL
    prepared = past_a_checkpoint(folder.runs)
    assert prepared
    assert not runs_in(folder.trials, "finished")

    began = time.time()
    process = start(*common, "--resume", script=SWEEP)
    code, out, err = end_by(process, signal.SIGINT, lambda: training(folder.trials, began))
    assert code == 130, out + err
    assert f"interrupted; go on with: python scripts/sweep.py {file} --resume" in out
    assert "Traceback" not in out + err
    for run_dir in prepared:
        check_went_on(run_dir, began)
    interrupted = past_a_checkpoint(folder.trials)
    assert interrupted
    for run_dir in runs_in(folder.trials, "running"):
        summary = summary_of(run_dir)
        assert summary["status"] == "interrupted"
        assert summary["steps"] == steps_done(run_dir)
        newest = sorted((run_dir / "checkpoints").glob("step_*"))[-1]
        assert int(newest.name.removeprefix("step_")) == summary["steps"]
    unfinished = pd.read_parquet(folder.table_parquet)
    assert "unfinished" in set(unfinished["status"])
    prepared_files = untouched(folder.runs)

    resumed = began = time.time()
    process = start(*common, "--resume", script=SWEEP)

    def one_finished_another_trains():
        return runs_in(folder.trials, "finished") and training(folder.trials, began)

    code, *_ = end_by(process, signal.SIGKILL, one_finished_another_trains)
    assert code == -signal.SIGKILL
    killed = [r for r in past_a_checkpoint(folder.trials) if times(r)[-1] > began]
    assert killed
    finished = untouched(folder.trials)

    began = time.time()
    code, out, err = run(*common, "--resume", script=SWEEP)
    assert (code, err) == (0, ""), out + err
    assert f"study tiny: 4 trials, {len(finished)} ended" in out
    for run_dir in killed:
        check_went_on(run_dir, began)
    for run_dir in interrupted:
        check_went_on(run_dir, resumed)
    assert finished.items() <= untouched(folder.trials).items()
    assert prepared_files == untouched(folder.runs)
    assert folder.decisions() == []
    theirs, _ = undisturbed
    pd.testing.assert_frame_equal(table(folder), table(theirs), check_exact=True)


def table(folder):
    """What must be equal, with the digests of all weights."""
    trials = pd.read_parquet(folder.table_parquet)
    assert trials["status"].tolist() == ["finished"] * 4
    assert trials["student_0_weights_sha256"].nunique() == 4
    return comparable(trials)


def test_the_tables_are_what_the_runs_measured(undisturbed):
    """Means over students and seeds, standard errors and differences, from the runs' summaries."""
    folder, out = undisturbed
    trials = pd.read_csv(folder.table_csv)
    measured = {}
    for row in trials.to_dict("records"):
        lines = summary_of(folder.trials / row["trial"])["students"]
        mean = math.fsum(line["test_accuracy"] for line in lines) / len(lines)
        assert row["test_accuracy"] == pytest.approx(mean, rel=1e-15)
        assert row["student_0_weights_sha256"] == lines[0]["weights_sha256"]
        measured.setdefault(row["arm"], {})[row["seed"]] = mean
    assert {arm: sorted(seeds) for arm, seeds in measured.items()} == {
        "mutual": [0, 1],
        "distilled": [0, 1],
    }
    summary = pd.read_csv(folder.summary_csv).set_index("arm")
    for arm, by_seed in measured.items():
        first, second = by_seed[0], by_seed[1]
        row = summary.loc[arm]
        assert row["n"] == 2
        assert row["test_accuracy_mean"] == pytest.approx((first + second) / 2)
        assert row["test_accuracy_se"] == pytest.approx(abs(first - second) / 2)
        shown = f"{50 * (first + second):.2f} ± {50 * abs(first - second):.2f}"
        assert re.search(rf"(?m)^ *{arm} +2 +{re.escape(shown)}", out), shown
    gains = [measured["distilled"][seed] - measured["mutual"][seed] for seed in (0, 1)]
    assert summary.loc["distilled", "test_accuracy_diff"] == pytest.approx(statistics.mean(gains))
    assert math.isnan(summary.loc["mutual", "test_accuracy_diff"])


def test_what_a_study_leaves_behind(undisturbed, monkeypatch, capsys):
    """Tables and figure, named on the terminal, and run folders as any other's."""
    folder, out = undisturbed
    files = [folder.table_csv, folder.table_parquet, folder.summary_csv]
    files += [folder.figure.with_suffix(suffix) for suffix in (".svg", ".png")]
    for each in files:
        assert str(each) in out.splitlines()
    assert "mutual" in files[3].read_text()
    assert files[4].read_bytes().startswith(b"\x89PNG")
    for run_dir in runs_in(folder.trials, "finished"):
        code, out, err = run_here(monkeypatch, capsys, run_dir, script="evaluate.py")
        assert (code, err) == (0, ""), out + err
        for line in summary_of(run_dir)["students"]:
            assert re.search(rf"{SLOW}.* {100 * line['test_accuracy']:.2f} ", out), out
