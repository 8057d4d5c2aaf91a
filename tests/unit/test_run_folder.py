"""The run folder: refusals, and files that are old or new but never half."""

import doctest
import errno
import json
import math
import os

import pytest

from cohort import files
from cohort.errors import ConfigError
from cohort.files import atomic_write, to_json
from cohort.run import folder as run_folder
from cohort.run.folder import RunFolder, default_path


def test_examples_in_docstrings_run():
    for module in (run_folder, files):
        results = doctest.testmod(module)
        assert results.attempted
        assert not results.failed


def test_create_makes_the_folder_and_its_parents(tmp_path):
    folder = RunFolder(tmp_path / "runs" / "one").make()
    assert folder.metrics.read_bytes() == b""
    assert folder.config == tmp_path / "runs" / "one" / "config.yaml"
    assert folder.checkpoints.name == "checkpoints"
    assert folder.student(2) == tmp_path / "runs" / "one" / "students" / "2"


def test_create_takes_an_empty_folder_once(tmp_path):
    RunFolder(tmp_path).make()
    with pytest.raises(ConfigError, match=r"--run-dir .* already holds something") as caught:
        RunFolder(tmp_path).make()
    assert str(tmp_path) in str(caught.value)


def test_create_refuses_a_folder_with_anything_in_it_and_a_file(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(ConfigError, match="--run-dir"):
            RunFolder(path).make()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes.txt"]


def test_of_two_runs_that_find_a_folder_empty_one_gets_it(tmp_path, monkeypatch):
    RunFolder(tmp_path).make()
    # As if the other run's file appeared just after this one looked.
    monkeypatch.setattr(type(tmp_path), "iterdir", lambda self: iter(()))
    with pytest.raises(ConfigError, match="is taken by another run"):
        RunFolder(tmp_path).make()


def test_a_folder_is_held_by_one_until_it_lets_go(tmp_path):
    folder = RunFolder(tmp_path / "run").make()
    second = RunFolder(folder.path).held()
    with folder.held(), pytest.raises(ConfigError, match="another process trains this run"), second:
        raise AssertionError("two hold it")
    with folder.held():
        assert [path.name for path in folder.path.iterdir()] == ["metrics.jsonl"]


def test_a_disk_without_locks_holds_nobody_up(tmp_path, monkeypatch):
    asked = []

    def no_locks(*given):
        asked.append(given)
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("cohort.files.fcntl.flock", no_locks)
    with RunFolder(tmp_path).held(), RunFolder(tmp_path).held():
        assert len(asked) == 2


def test_create_below_a_file_says_why(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written: Not a directory"):
        RunFolder(tmp_path / "file" / "run").make()


def test_open_needs_a_config(tmp_path):
    with pytest.raises(ConfigError, match=r"has no config\.yaml"):
        RunFolder(tmp_path).opened()
    (tmp_path / "config.yaml").touch()
    assert RunFolder(tmp_path).opened().path == tmp_path


def test_summary_round_trip_stores_null_for_what_is_not_finite(tmp_path):
    folder = RunFolder(tmp_path)
    students = [{"student": 0, "test_nll": math.nan}, {"student": 1, "test_nll": math.inf}]
    folder.write_summary({"status": "finished", "students": students, "dropped": ()})
    assert folder.read_summary() == {
        "status": "finished",
        "students": [{"student": 0, "test_nll": None}, {"student": 1, "test_nll": None}],
        "dropped": [],
    }
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


@pytest.mark.parametrize(
    ("name", "told"), [("my run", "--resume 'my run'"), ("-mine", "--resume ./-mine")]
)
def test_how_to_resume_can_be_pasted(tmp_path, monkeypatch, name, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    (tmp_path / name / "file").touch()
    with pytest.raises(ConfigError) as caught:
        RunFolder(name).check_free()
    assert str(caught.value).endswith(told)


def test_read_summary_of_a_run_that_has_none(tmp_path):
    with pytest.raises(ConfigError, match=r"has no summary\.json"):
        RunFolder(tmp_path).read_summary()
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(ConfigError, match="does not describe how a run ended: Expecting"):
        RunFolder(tmp_path).read_summary()
    (tmp_path / "summary.json").write_text("[]")
    with pytest.raises(
        ConfigError, match=r"summary\.json does not .*: it must hold keys and values"
    ):
        RunFolder(tmp_path).read_summary()
    (tmp_path / "summary.json").unlink()
    (tmp_path / "summary.json").mkdir()
    with pytest.raises(ConfigError, match=r"summary\.json cannot be read: Is a directory"):
        RunFolder(tmp_path).read_summary()


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path, monkeypatch, call):
    path = tmp_path / "summary.json"
    atomic_write(path, "old")
    calls = []

    def full(*args):
        calls.append(args)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        atomic_write(path, "new")
    assert len(calls) == 1
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


def test_atomic_write_takes_bytes_and_text(tmp_path):
    atomic_write(tmp_path / "a", b"\x00\xff")
    atomic_write(tmp_path / "b", "naïve")
    assert (tmp_path / "a").read_bytes() == b"\x00\xff"
    assert (tmp_path / "b").read_text(encoding="utf-8") == "naïve"


def test_json_stays_standard():
    text = to_json({"a": [math.nan, {"b": -math.inf}], "c": 1, "d": True})
    refuse = pytest.fail
    assert json.loads(text, parse_constant=refuse) == {"a": [None, {"b": None}], "c": 1, "d": True}


def test_default_path_counts_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_folder.time, "strftime", lambda form: "20261121-060000")
    names = []
    for _ in range(3):
        path = default_path("digits")
        path.mkdir(parents=True)
        names.append(path.as_posix())
    first = "runs/digits-20261121-060000"
    assert names == [first, f"{first}-2", f"{first}-3"]
