"""Processes of a study are killed in the middle of a step: nothing of it is lost or falsified."""

import re

import pandas as pd
import pytest

from cohort.tuning.folder import StudyFolder
from cohort.tuning.on_ray.run import run_study
from tests.support.command import run_here
from tests.support.local_ray import meeting_ray
from tests.support.meetings import OF_TRIALS
from tests.support.small_studies import QUICK, hashes, run_dirs, study_of, summary_of, undisturbed

NETWORKS = "tests.support.networks"
MEETINGS = "tests.support.meetings"


@pytest.fixture(scope="module", autouse=True)
def meeting_place(tmp_path_factory):
    with meeting_ray(4, tmp_path_factory.mktemp("meeting")) as place:
        yield place


@pytest.fixture
def fuse(meeting_place):
    """Armed; what is tested has to burn it."""
    path = meeting_place / "fuse"
    path.touch()
    yield path
    assert not path.exists(), "the fault did not fire"


@pytest.fixture
def deaths(monkeypatch):
    """What a study tells its user of processes of trials that died."""
    told = []

    def notice(self, text):
        if "died" in text:
            told.append(text)

    monkeypatch.setattr("cohort.tuning.progress.StudyProgress.notice", notice)
    return told


@pytest.mark.slow
def test_trials_whose_process_dies_go_on_from_their_checkpoint_unless_it_always_does(
    fuse, deaths, tmp_path
):
    always = {"students": f"{NETWORKS}:always_dying", "checkpoint_every": 100}
    once = {"students": f"{NETWORKS}:dying", "checkpoint_every": 10}
    study = study_of(
        tmp_path,
        {**QUICK, "k": 2, "exchange": "in_process"},
        space={"dies": {"cases": {"always": always, "once": once}}},
        max_failures=1,
    )
    result = run_study(study, study_dir=tmp_path / "study")
    assert result.exit_code == 1
    assert list(result.results.trials["status"]) == ["failed", "finished"]
    going_on = [death for death in deaths if "died (1 of 1) and goes on" in death]
    assert len(going_on) == 2
    (last,) = set(deaths) - set(going_on)
    assert "dies=always seed=0 failed" in last
    folders = run_dirs(tmp_path / "study")
    (failed,) = StudyFolder(tmp_path / "study").decisions()
    assert (failed["kind"], failed["trial"]) == ("failed", folders["dies-always"].name)
    assert "died" in failed["reason"]
    assert result.failed == (failed["trial"],)
    run_dir = folders["dies-once"]
    assert hashes(run_dir) == undisturbed(run_dir, tmp_path / "undisturbed")


@pytest.mark.slow
def test_a_cohort_survives_the_death_of_its_trial_and_then_of_a_student(
    meeting_place, deaths, tmp_path
):
    """The first students end with the trial; one of the next dies, and only that is a restart."""
    of_trials = meeting_place / f"fuse{OF_TRIALS}"
    of_trials.touch()
    students = [f"{MEETINGS}:killing_its_trial", f"{NETWORKS}:dying"]
    study = study_of(tmp_path, {**QUICK, "k": 2, "students": students, "epochs": 3})
    result = run_study(study, study_dir=tmp_path / "study")
    assert not of_trials.exists(), "the trial was not killed"
    assert not (meeting_place / "fuse").exists(), "no student was killed after it"
    assert result.exit_code == 0
    assert len(deaths) == 1
    (run_dir,) = run_dirs(tmp_path / "study").values()
    assert summary_of(run_dir)["restarts"] == 1
    assert hashes(run_dir) == undisturbed(run_dir, tmp_path / "undisturbed")


def test_a_trial_that_fails_leaves_the_others_alone(monkeypatch, capsys, tmp_path):
    """And is tried again when the study goes on."""
    alone = {**QUICK, "k": 1, "teacher": "none", "exchange": "in_process", "optimizer": "sgd"}
    study_of(tmp_path, alone, space={"lr": {"grid": [1e30, 0.02]}}, max_concurrent=1)
    folder = StudyFolder(tmp_path / "study")

    def sweep(*flags):
        command = (tmp_path / "small.yaml", "--study-dir", folder.path, *flags)
        return run_here(monkeypatch, capsys, *command, script="sweep.py")

    code, out, err = sweep()
    check_one_failed(folder, code, out, err)
    (healthy,) = folder.trials.glob("lr-0.02*/summary.json")
    before = healthy.stat()

    code, out, err = sweep("--resume")
    check_one_failed(folder, code, out, err)
    assert "2 trials, 1 ended, 1 to go on with, 0 new" in out
    assert (healthy.stat().st_ino, healthy.stat().st_mtime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
    )
    assert [each["kind"] for each in folder.decisions()] == ["failed", "failed"]


def check_one_failed(folder, code, out, err):
    assert (code, err) == (1, ""), out + err
    trials = pd.read_csv(folder.table_csv).set_index("config.lr")
    assert trials["status"].to_dict() == {1e30: "failed", 0.02: "finished"}
    failed = trials.loc[1e30, "trial"]
    (line,) = [line for line in out.splitlines() if line.startswith("failed: ")]
    assert re.fullmatch(
        rf"failed: {re.escape(failed)}: .*the loss is not finite at step \d+.*", line
    )
    assert pd.isna(trials.loc[1e30, "test_accuracy"])
    assert 0 <= trials.loc[0.02, "test_accuracy"] <= 1
