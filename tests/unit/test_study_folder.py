"""The folder of a study: taken or free, and lines that outlive a crash."""

import pytest

from cohort.errors import ConfigError
from cohort.tuning.folder import StudyFolder
from cohort.tuning.space import Point
from cohort.tuning.trials import TrialSpec

SPEC = TrialSpec("k-1.seed-0.12345678", "launch_cohort", {"k": 1}, 0, {"k": 1, "seed": 0})
TEXT = "seeds: [0]\n"


def test_a_folder_is_taken_once(tmp_path):
    with pytest.raises(ConfigError, match=r"is not the folder of a study: it has no study\.yaml"):
        StudyFolder.open(tmp_path / "study")
    folder = StudyFolder.create(tmp_path / "study", TEXT)
    with pytest.raises(ConfigError, match=r"already holds a study; go on with it by --resume, or"):
        StudyFolder.create(folder.path, TEXT)
    assert StudyFolder.open(folder.path).path == folder.path


def test_what_is_not_a_study_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(
        ConfigError, match=r"^--study-dir .* already holds something; name a folder"
    ):
        StudyFolder.create(tmp_path, TEXT)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_creation_that_is_killed_leaves_nothing_or_a_study_to_go_on_with(tmp_path):
    """It makes one file, whose text whoever goes on writes again: there is no third state."""
    folder = StudyFolder.create(tmp_path, TEXT)
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]
    assert folder.study.read_text() == TEXT
    folder.study.write_text("")
    assert StudyFolder.open(tmp_path).decisions() == []


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="already holds something"):
        StudyFolder.create(tmp_path / "file", TEXT)
    with pytest.raises(ConfigError, match="cannot be written: Not a directory"):
        StudyFolder.create(tmp_path / "file" / "study", TEXT)


def test_two_studies_that_find_the_same_folder_empty(tmp_path, monkeypatch):
    StudyFolder.create(tmp_path, TEXT)
    monkeypatch.setattr(StudyFolder, "check_free", lambda self: None)
    with pytest.raises(ConfigError, match="is taken by another study; name a new one"):
        StudyFolder.create(tmp_path, TEXT)


def test_a_decision_is_on_disk_when_it_is_recorded(tmp_path):
    folder = StudyFolder.create(tmp_path, TEXT)
    assert folder.decisions() == []
    folder.record_decision("a", "stopped", epoch=3)
    assert folder.decisions_file.read_text() == '{"trial": "a", "kind": "stopped", "epoch": 3}\n'
    folder.record_decision("b", "failed", reason="died", loss=float("nan"))
    assert StudyFolder(tmp_path).decisions() == [
        {"trial": "a", "kind": "stopped", "epoch": 3},
        {"trial": "b", "kind": "failed", "reason": "died", "loss": None},
    ]


def test_a_line_is_synchronised_whole(tmp_path, monkeypatch):
    synchronised = []
    monkeypatch.setattr(
        "cohort.tuning.folder.os.fsync",
        lambda _: synchronised.append((tmp_path / "decisions.jsonl").read_text()),
    )
    StudyFolder.create(tmp_path, TEXT).record_decision("a", "stopped")
    assert synchronised == ['{"trial": "a", "kind": "stopped"}\n']


def test_a_torn_last_line_is_left_out_and_written_over(tmp_path):
    folder = StudyFolder.create(tmp_path, TEXT)
    folder.record_decision("a", "stopped")
    whole = folder.decisions_file.read_bytes()
    for torn in (b"{", whole[:-1], b"\xc3"):
        folder.decisions_file.write_bytes(whole + torn)
        assert [line["trial"] for line in folder.decisions()] == ["a"]
        folder.record_decision("b", "failed", reason="died")
        assert [line["trial"] for line in folder.decisions()] == ["a", "b"]


def test_a_damaged_line_is_not_passed_over(tmp_path):
    folder = StudyFolder.create(tmp_path, TEXT)
    folder.decisions_file.write_text('nonsense\n{"trial": "a"}\n')
    with pytest.raises(ConfigError, match=r"decisions\.jsonl is damaged: line 1 is not"):
        folder.decisions()


def test_suggestions_come_back_in_order(tmp_path):
    folder = StudyFolder.create(tmp_path, TEXT)
    assert folder.suggestions() == []
    points = [Point({"lr": lr}, {"lr": lr, "students": "a,b"}) for lr in (0.1, 1 / 3)]
    for point in points:
        folder.record_suggestion(point)
    assert folder.suggestions() == points
