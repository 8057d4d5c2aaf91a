"""Folders of Ray's sessions, made by hand: which of them stay when a run has ended. No Ray is started."""

import fcntl
import os
from pathlib import Path

import pytest

from cohort.errors import ConfigError, RunError
from cohort.runtime import session_folders
from cohort.runtime.session_folders import KEPT, LATEST, MARK, tidied


def folder_of(among, second):
    """What a Ray has made that began at some second."""
    folder = among / f"session_2026-01-01_00-00-{second:02d}_000000_7"
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / "raylet.out").write_text("it said")
    latest = among / LATEST
    latest.unlink(missing_ok=True)
    latest.symlink_to(folder)
    return folder


def killed(among, second):
    """Of a process of ours that is gone."""
    folder = folder_of(among, second)
    (folder / MARK).touch()
    return folder


def names(among):
    return sorted(path.name for path in among.iterdir())


def end_with(folder, error):
    with tidied(folder):
        assert (folder / MARK).exists()
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [None, ConfigError("refused"), KeyboardInterrupt()])
def test_a_session_that_did_not_fail_leaves_nothing(tmp_path, error):
    folder = folder_of(tmp_path, 1)
    if error is None:
        end_with(folder, None)
    else:
        with pytest.raises(type(error)):
            end_with(folder, error)
    assert names(tmp_path) == []


def test_one_that_failed_leaves_its_logs_and_says_where(tmp_path):
    folder = folder_of(tmp_path, 1)
    with pytest.raises(RunError) as caught:
        end_with(folder, RunError("a student died"))
    assert caught.value.__notes__ == [f"Ray's logs are in {folder}/logs"]
    assert (folder / "logs" / "raylet.out").read_text() == "it said"
    assert names(tmp_path) == [folder.name, LATEST]


def test_of_those_that_were_left_the_newest_stay(tmp_path):
    left = [killed(tmp_path, second) for second in range(KEPT + 2)]
    end_with(folder_of(tmp_path, 30), None)
    assert names(tmp_path) == [each.name for each in left[2:]]


def test_who_lives_and_who_is_not_ours_stays(tmp_path):
    living, foreign, linked = killed(tmp_path, 1), folder_of(tmp_path, 2), tmp_path / "session_0"
    elsewhere = killed(tmp_path / "elsewhere", 3)
    linked.symlink_to(elsewhere)
    holder = os.open(living / MARK, os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    left = [killed(tmp_path, 10 + second) for second in range(KEPT)]
    newest = folder_of(tmp_path, 30)
    with tidied(newest):
        assert all(folder.exists() for folder in (living, foreign, linked, elsewhere, *left))
        assert tmp_path.joinpath(LATEST).readlink() == newest
    assert all(folder.exists() for folder in (living, foreign, elsewhere, *left))
    os.close(holder)
    end_with(folder_of(tmp_path, 31), None)
    assert (living.exists(), foreign.exists(), elsewhere.exists()) == (False, True, True)


def test_two_sessions_at_once_leave_each_other_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(session_folders, "KEPT", 0)
    first, second = folder_of(tmp_path, 1), folder_of(tmp_path, 2)
    with tidied(first):
        with tidied(second):
            assert first.exists()
        assert (first.exists(), second.exists()) == (True, False)
    assert names(tmp_path) == []


def test_another_user_s_folder_stays(tmp_path, monkeypatch):
    left = [killed(tmp_path, second) for second in range(KEPT + 1)]
    monkeypatch.setattr(os, "getuid", lambda: Path(tmp_path).stat().st_uid + 1)
    end_with(folder_of(tmp_path, 30), None)
    assert names(tmp_path) == [each.name for each in left]
