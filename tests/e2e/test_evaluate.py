"""`evaluate.py` finds what the run found."""

import runpy
import sys

import pytest

from cohort import CohortConfig, train_cohort
from cohort.runtime.evaluate import evaluate_run
from tests.support.command import ROOT

SCRIPT = str(ROOT / "scripts" / "evaluate.py")


def run_script(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [SCRIPT, *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(SCRIPT, run_name="__main__")
    return ended.value.code


def test_a_run_is_measured_again(tmp_path, monkeypatch, capsys):
    config = CohortConfig(
        k=2,
        students=("resnet8", "wrn_10_1"),
        epochs=2,
        test_subset=100,
        exchange="in_process",
        threads=1,
        run_dir=str(tmp_path / "run"),
    )
    summary = train_cohort(config).summary
    again = evaluate_run(tmp_path / "run")
    assert again["students"] == summary["students"]
    assert again["ensemble"] == summary["ensemble"]
    assert run_script(monkeypatch, tmp_path / "run") == 0
    assert "wrn_10_1" in capsys.readouterr().out


def test_a_folder_without_students_is_refused(tmp_path, monkeypatch, capsys):
    assert run_script(monkeypatch, tmp_path) == 2
    assert "is not the folder of a run" in capsys.readouterr().err
    (tmp_path / "config.yaml").write_text("k: 2\n")
    assert run_script(monkeypatch, tmp_path) == 2
    assert "holds no trained students" in capsys.readouterr().err
    assert run_script(monkeypatch) == 2
    assert "RUN_DIR" in capsys.readouterr().err
