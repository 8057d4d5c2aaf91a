"""The real `sweep.py`: a study that is killed and interrupted, and goes on, is the undisturbed one."""

import contextlib
import dataclasses
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
import ray
import yaml

from cohort import CohortConfig, self_distill, train_cohort
from cohort.reporting.records import read_metrics
from cohort.tuning.file.load import load_study
from cohort.tuning.folder import StudyFolder
from cohort.tuning.measurements import state_of
from cohort.tuning.results.table import trials_table, write_parquet
from cohort.tuning.state import known_trials
from cohort.tuning.trials import config_of, prepared_of
from tests.support.command import PATIENCE, here, left_by, start, steps_done, wait_until
from tests.support.study_files import comparable

SWEEP = "sweep.py"
SLOW = "tests.support.networks:slow"
EVERY, STEPS = 5, 40
SIZE = {
    "dataset": "synthetic",  # read without scikit-learn, which takes a second to import
    "image_size": 8,
    "train_subset": 100,
    "test_subset": 40,
    "batch_size": 10,
    "epochs": 4,
    "checkpoint_every": EVERY,
    "log_every": 1,
    "threads": 1,
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
    "max_concurrent": 1,
    "report": {
        "baseline": {"arm": "mutual"},
        "metrics": ["test_accuracy", "test_nll"],
        "figure": {"kind": "bars", "y": ["test_accuracy"]},
    },
}


def undisturbed(file, path):
    """The folder of a study that trains without Tune: one run after the other, in this process."""
    study, folder = load_study(file, trust_code=True), StudyFolder.create(path, file.read_text())
    trials = known_trials(study, folder)
    runs = {spec.name: folder.run(spec) for spec in prepared_of(study)}
    for spec in [*prepared_of(study), *trials]:
        config = config_of(spec, runs.get(spec.name, folder.trial(spec)), folder.runs)
        config = dataclasses.replace(config, trust_code=True)
        (train_cohort if isinstance(config, CohortConfig) else self_distill)(config)
    write_parquet(trials_table(study, folder, trials), folder.table_parquet)
    return folder


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
    # They train until they notice, on a Ray of the command's own or on the one that it joined.
    wait_until(lambda: not workers_of(process) and ray.available_resources().get("CPU") == 4)
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
    """A run was begun before the moment and ended after it, with no step missing or repeated.

    One that a SIGKILL of the command left may have trained its last step before it noticed.
    """
    records = read_metrics(run_dir / "metrics.jsonl")
    trained = [(r["step"], r["student"]) for r in records if r["phase"] == "train"]
    students = [line["student"] for line in summary_of(run_dir)["students"]]
    assert sorted(trained) == [(step, k) for step in range(1, STEPS + 1) for k in students]
    recorded = times(run_dir)
    assert recorded[EVERY * len(students) - 1] < moment, (run_dir, moment, recorded)
    assert (run_dir / "summary.json").stat().st_mtime > moment, (run_dir, moment, recorded)


@pytest.mark.slow
def test_killed_and_interrupted_and_killed_again_it_is_the_same_study(ray_of_four, tmp_path):
    """SIGKILL of the preparation, Ctrl-C, SIGKILL amid the trials, and to the end: one table.

    On a Ray that goes on when the command is killed, and, at Ctrl-C, on one of the command's own.
    """
    file, folder = written(tmp_path / "tiny.yaml", STUDY), StudyFolder(tmp_path / "study")
    common = (file, "--trust-code", "--study-dir", folder.path)
    joined = ("--address", ray.get_runtime_context().gcs_address)

    began = time.time()
    process = start(*common, *joined, script=SWEEP)
    code, *_ = end_by(process, signal.SIGKILL, lambda: training(folder.runs, began))
    assert code == -signal.SIGKILL
    prepared = past_a_checkpoint(folder.runs)
    assert prepared
    assert not runs_in(folder.trials, "finished")

    began = time.time()
    process = start(*common, "--resume", script=SWEEP)
    code, out, err = end_by(process, signal.SIGINT, lambda: training(folder.trials, began))
    assert code == 130, out + err
    assert f"sweep.py {file} --resume --study-dir {folder.path}" in out
    assert "Traceback" not in out
    assert err == "stopping after this step; a second signal stops at once\n"
    assert left_by(process) == set()
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
    written(file, STUDY | {"max_concurrent": 2})  # from here on side by side
    process = start(*common, "--resume", *joined, script=SWEEP)

    def one_finished_another_trains():
        return runs_in(folder.trials, "finished") and training(folder.trials, began)

    code, *_ = end_by(process, signal.SIGKILL, one_finished_another_trains)
    assert code == -signal.SIGKILL
    assert left_by(process) == set()
    killed = [r for r in past_a_checkpoint(folder.trials) if times(r)[-1] > began]
    assert killed
    finished = untouched(folder.trials)

    began = time.time()
    written(file, STUDY)  # and again one by one
    code, out, err = here(*common, "--resume", script=SWEEP)
    assert (code, err) == (0, ""), out + err
    assert f"study tiny: 4 trials, {len(finished)} ended" in out
    for run_dir in killed:
        check_went_on(run_dir, began)
    for run_dir in interrupted:
        check_went_on(run_dir, resumed)
    assert finished.items() <= untouched(folder.trials).items()
    assert prepared_files == untouched(folder.runs)
    assert folder.decisions() == []
    check_table(folder, undisturbed(file, tmp_path / "undisturbed"))
    check_means_and_differences(folder, out)
    check_files(folder, out)
    check_evaluates(folder)


def check_table(folder, other):
    """It is that of the undisturbed study, with the digests of all weights."""
    tables = [pd.read_parquet(each.table_parquet) for each in (folder, other)]
    for trials in tables:
        assert trials["status"].tolist() == ["finished"] * 4
        assert trials["student_0_weights_sha256"].nunique() == 4
    pd.testing.assert_frame_equal(*map(comparable, tables), check_exact=True)


def check_means_and_differences(folder, out):
    """Means over students and seeds, standard errors and differences, from the runs' summaries."""
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


def check_files(folder, out):
    """Tables and figure, named on the terminal."""
    files = [folder.table_csv, folder.table_parquet, folder.summary_csv]
    files += [folder.figure.with_suffix(suffix) for suffix in (".svg", ".png")]
    for each in files:
        assert str(each) in out.splitlines()
    assert "mutual" in files[3].read_text()
    assert files[4].read_bytes().startswith(b"\x89PNG")


def check_evaluates(folder):
    """The run folders are as any other's."""
    for run_dir in runs_in(folder.trials, "finished"):
        code, out, err = here(run_dir, "--trust-code", script="evaluate.py")
        assert (code, err) == (0, ""), out + err
        for line in summary_of(run_dir)["students"]:
            assert re.search(rf"{SLOW}.* {100 * line['test_accuracy']:.2f} ", out), out
