"""A run with exits, from training to `export.py`."""

import json
import runpy
import sys

import pytest
import torch

from cohort import CohortConfig, load_student, train_cohort
from cohort.analysis.evaluate import evaluate_run
from tests.support.command import ROOT

SCRIPT = str(ROOT / "scripts" / "export.py")
TINY = "tests.support.exits:Tiny+exits"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = CohortConfig(
        k=2,
        students=(TINY, "resnet8+exits=stages.0"),
        steps=2,
        train_subset=200,
        test_subset=50,
        exchange="in_process",
        threads=1,
        run_dir=str(tmp_path_factory.mktemp("exits") / "run"),
    )
    return train_cohort(config)


def test_the_run_writes_down_where_the_exits_are(run):
    names = [student["model"] for student in run.summary["students"]]
    assert names == [f"{TINY}=body.0/body.1", "resnet8+exits=stages.0"]
    evaluation = evaluate_run(run.run_dir, trust_code=True)
    exits = [student.pop("exits") for student in evaluation.summary["students"]]
    assert evaluation.summary["students"] == run.summary["students"]
    assert [[line["place"] for line in lines] for lines in exits] == [
        ["body.0", "body.1", None],
        ["stages.0", None],
    ]
    folders = [run.run_dir / "students" / str(k) for k in (0, 1)]
    loaded = [load_student(folder, trust_code=True) for folder in folders]
    assert [student.network.num_exits for student in loaded] == [3, 2]


def script(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [SCRIPT, *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(SCRIPT, run_name="__main__")
    return ended.value.code


def test_the_script_exports_an_exit_of_a_student(run, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    arguments = ("--exit", 1, "--format", "safetensors", "--output", out, "--student", 1)
    assert script(monkeypatch, run.run_dir, *arguments) == 0
    assert capsys.readouterr().out.strip() == str(out / "model.safetensors")
    assert json.loads((out / "model.json").read_text())["exit"] == 1
    pixels = torch.rand(3, 1, 8, 8)
    student = load_student(run.run_dir / "students" / "1")
    assert torch.equal(load_student(out)(pixels), student(pixels, 1))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--exit", "9", "--format", "onnx", "--trust-code"],
            "--exit is 9; the network has exits 1 to 3",
        ),
        (["--exit", "one", "--format", "onnx"], "argument --exit: invalid int value: 'one'"),
        (["--format", "tf"], "--format is 'tf'; it must be safetensors, torch_export or onnx"),
        (["--format", "onnx", "--student", "5"], "--student is 5, but"),
        ([], "--format"),
    ],
)
def test_wrong_usage_is_one_sentence(run, tmp_path, monkeypatch, capsys, arguments, said):
    out = tmp_path / "out"
    assert script(monkeypatch, run.run_dir, *arguments, "--output", out) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not out.exists()


def test_what_is_not_a_run(tmp_path, monkeypatch, capsys):
    assert script(monkeypatch, tmp_path, "--format", "onnx", "--output", tmp_path / "out") == 2
    assert "is not the folder of a run" in capsys.readouterr().err
