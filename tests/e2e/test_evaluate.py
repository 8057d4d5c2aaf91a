"""`evaluate.py` finds what the run found."""

import json
import runpy
import sys

import pytest

from cohort import (
    CohortConfig,
    MultiExitStudent,
    SelfDistillConfig,
    load_student,
    self_distill,
    train_cohort,
)
from cohort.analysis.evaluate import evaluate_run
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
        epochs=1,
        train_subset=200,
        test_subset=100,
        exchange="in_process",
        threads=1,
        precision="bf16",
        run_dir=str(tmp_path / "run"),
    )
    summary = train_cohort(config).summary
    again = evaluate_run(tmp_path / "run").summary
    assert again["students"] == summary["students"]
    assert again["ensemble"] == summary["ensemble"]
    assert run_script(monkeypatch, tmp_path / "run") == 0
    assert "wrn_10_1" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["byot", "none"])
def test_a_job_is_measured_again(tmp_path, method):
    config = SelfDistillConfig(
        method=method,
        epochs=1,
        train_subset=200,
        test_subset=100,
        workers=0,
        threads=1,
        precision="bf16",
        run_dir=str(tmp_path / "run"),
    )
    summary = self_distill(config).summary
    again = evaluate_run(tmp_path / "run").summary
    assert again["students"] == summary["students"]
    assert again["ensemble"] == summary["ensemble"]
    assert ("exits" in again["students"][0]) == (method == "byot")


def test_exits_are_shown_with_their_ensembles_and_times(tmp_path, monkeypatch, capsys):
    """Of a cohort of which one student has some."""
    config = CohortConfig(
        k=2,
        students="resnet8+exits,resnet8",
        steps=2,
        train_subset=200,
        test_subset=50,
        exchange="in_process",
        threads=1,
        run_dir=str(tmp_path / "run"),
    )
    summary = train_cohort(config).summary
    loaded = [load_student(tmp_path / "run" / "students" / str(k)) for k in (0, 1)]
    assert [isinstance(student, MultiExitStudent) for student in loaded] == [True, False]
    again = evaluate_run(tmp_path / "run").summary
    assert again["ensemble"] == summary["ensemble"]
    table = tmp_path / "table.json"
    flags = ("--latency", 2, "--ensemble-weights", "0,1,1", "--output", table)
    assert run_script(monkeypatch, tmp_path / "run", *flags) == 0
    shown = capsys.readouterr().out
    for words in ("resnet8+exits=stages.0/stages.1", "exits of student 0", "weighted 0,1,1"):
        assert words in shown, shown
    assert "exits of student 1" not in shown
    assert "[quartiles]" in shown
    check_rows(json.loads(table.read_text())["rows"], again)
    assert run_script(monkeypatch, tmp_path / "run", "--output", table) == 2  # it holds something
    assert f"--output {table} exists already" in capsys.readouterr().err


def check_rows(rows, again):
    assert {row["run"] for row in rows} == {"run"}
    assert [(row["row"], row.get("student"), row.get("exit")) for row in rows] == [
        ("student", 0, None), ("exit", 0, 1), ("exit", 0, 2), ("exit", 0, 3),
        ("exits", 0, None), ("exits", 0, None), ("student", 1, None), ("ensemble", None, None),
    ]  # fmt: skip
    assert [row.get("exits") for row in rows[4:6]] == ["1,2,3", "2,3"]
    assert rows[5]["weights"] == "0,1,1"
    timed = [row["latency_ms"] for row in rows if row["row"] in ("student", "exit")]
    assert len(timed) == 5
    assert timed[0] == timed[3]  # the deepest exit is what the student answers with
    accuracies = [row["test_accuracy"] for row in rows if row["row"] == "student"]
    assert accuracies == [line["test_accuracy"] for line in again["students"]]
    assert rows[-1]["test_nll"] == again["ensemble"]["test_nll"]


def test_a_folder_without_students_is_refused(tmp_path, monkeypatch, capsys):
    assert run_script(monkeypatch, tmp_path) == 2
    assert "is not the folder of a run" in capsys.readouterr().err
    (tmp_path / "config.yaml").write_text("k: 2\n")
    assert run_script(monkeypatch, tmp_path) == 2
    assert "holds no trained students" in capsys.readouterr().err
    assert run_script(monkeypatch) == 2
    assert "RUN_DIR" in capsys.readouterr().err
