"""Processes of a study are killed in the middle of a step: nothing of it is lost or falsified."""

import pytest

from cohort.tuning.folder import StudyFolder
from cohort.tuning.on_ray.run import run_study
from tests.support.small_studies import (
    hashes,
    meeting_ray,
    run_dirs,
    study_of,
    summary_of,
    undisturbed,
)

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

    monkeypatch.setattr("cohort.reporting.study_progress.StudyProgress.notice", notice)
    return told


def decisions(study_dir):
    return StudyFolder(study_dir).decisions()


def test_a_trial_whose_process_dies_goes_on_from_its_checkpoint(
    fuse, meeting_place, deaths, tmp_path
):
    base = {"k": 2, "exchange": "in_process", "students": f"{NETWORKS}:dying"}
    study = study_of(tmp_path, base, space={"lr": {"grid": [0.05]}})
    result = run_study(study, study_dir=tmp_path / "study")
    assert result.exit_code == 0
    (death,) = deaths
    assert "died (1 of 3) and goes on" in death
    (run_dir,) = run_dirs(tmp_path / "study").values()
    assert hashes(run_dir) == undisturbed(run_dir, tmp_path / "undisturbed")
    assert decisions(tmp_path / "study") == []


def test_students_of_a_trial_whose_process_dies_end_with_it(fuse, meeting_place, deaths, tmp_path):
    base = {"k": 2, "students": ["resnet8", f"{MEETINGS}:killing_its_trial"]}
    result = run_study(study_of(tmp_path, base), study_dir=tmp_path / "study")
    assert result.exit_code == 0
    assert len(deaths) == 1
    (run_dir,) = run_dirs(tmp_path / "study").values()
    assert summary_of(run_dir)["restarts"] == 0
    assert hashes(run_dir) == undisturbed(run_dir, tmp_path / "undisturbed")


def test_a_trial_survives_its_student(fuse, deaths, tmp_path):
    base = {"k": 2, "students": ["resnet8", f"{NETWORKS}:dying"]}
    result = run_study(study_of(tmp_path, base), study_dir=tmp_path / "study")
    assert result.exit_code == 0
    assert deaths == []
    (run_dir,) = run_dirs(tmp_path / "study").values()
    assert summary_of(run_dir)["restarts"] == 1
    assert hashes(run_dir) == undisturbed(run_dir, tmp_path / "undisturbed")


def test_a_trial_that_always_dies_fails_and_the_others_do_not(tmp_path):
    study = study_of(
        tmp_path,
        {"k": 2, "exchange": "in_process", "checkpoint_every": 100},
        space={"students": {"grid": [f"{NETWORKS}:always_dying", "resnet8"]}},
        max_failures=1,
    )
    result = run_study(study, study_dir=tmp_path / "study")
    assert result.exit_code == 1
    assert list(result.results.trials["status"]) == ["failed", "finished"]
    (failed,) = decisions(tmp_path / "study")
    assert failed["kind"] == "failed"
    assert "died" in failed["reason"]
    assert result.failed == (failed["trial"],)
