"""The real command lines, from a deep ensemble to the student that was distilled from it."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch

from cohort import OdsConfig, load_student, ods_distill
from cohort.config import flag
from cohort.models.members import MembersStudent
from cohort.reporting.records import read_metrics
from tests.support.command import ODS_DISTILL, here
from tests.support.networks import FUSE
from tests.support.teacher_runs import SMALL

STUDENT = "tests.support.networks:interrupted"
TRAINING = {"epochs": 8, "batch_size": 32, "log_every": 1, "checkpoint_every": 2, "threads": 1}
FLAGS = [
    *("--student", "be", "--model", STUDENT, "--members", 2, "--choose", "2,0"),
    *("--perturbation", "ods", "--epochs", 8, "--batch-size", 32, "--log-every", 1),
    *("--checkpoint-every", 2, "--threads", 1),
]


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Three networks trained apart, by the command line."""
    run_dir = tmp_path_factory.mktemp("teachers") / "run"
    sizes = [word for key, value in SMALL.items() for word in (flag(key), value)]
    apart = ("--teacher", "none", "--k", 3, "--students", "resnet8", "--exchange", "in_process")
    code, out, err = here(*apart, *sizes, "--validation", 40, "--run-dir", run_dir)
    assert (code, err) == (0, ""), out + err
    return run_dir


@pytest.fixture(scope="module")
def undisturbed(teachers, tmp_path_factory):
    """In this process, without Ray."""
    config = OdsConfig(
        **TRAINING, teachers=str(teachers), choose=(2, 0), model=STUDENT, perturbation="ods",
        workers=0, run_dir=str(tmp_path_factory.mktemp("undisturbed") / "run"),
    )  # fmt: skip
    return ods_distill(config)


def summary_of(run_dir):
    return json.loads((Path(run_dir) / "summary.json").read_text())


def losses(run_dir):
    records = read_metrics(run_dir / "metrics.jsonl")
    return [(r["step"], r["loss"], r["kl"]) for r in records if r["phase"] == "train"]


def hash_of(summary):
    (student,) = summary["students"]
    return student["weights_sha256"]


def row(out, *name):
    """The cells of a table's row; ``name`` is in words."""
    rows = [line.split() for line in out.splitlines()]
    (found,) = [cells for cells in rows if tuple(cells[: len(name)]) == name]
    return found


def test_every_flag_is_in_the_help():
    code, out, err = here("--help", script=ODS_DISTILL)
    assert (code, err) == (0, "")
    assert "BatchEnsemble" in out
    for field in dataclasses.fields(OdsConfig):
        assert re.search(rf"(?m)^ +{flag(field.name)}[ ,\n]", out), field.name
    assert "--resume" in out
    assert "--config" in out


def test_interrupted_and_resumed_without_ray_it_is_the_same(
    teachers, undisturbed, tmp_path, monkeypatch
):
    """Ctrl-C, then to the end, which prints the table."""
    run_dir, fuse = tmp_path / "run", tmp_path / "fuse"
    common = (*FLAGS, "--teachers", teachers, "--workers", 0, "--run-dir", run_dir)
    monkeypatch.setenv(FUSE, str(fuse))
    fuse.touch()
    code, out, err = here(*common, script=ODS_DISTILL)
    assert code == 130, out + err
    assert not fuse.exists()
    assert f"ods_distill.py --resume {run_dir} --trust-code\n" in out
    assert "Traceback" not in out + err
    assert summary_of(run_dir)["status"] == "interrupted"
    assert 0 < summary_of(run_dir)["steps"] < undisturbed.summary["steps"]

    code, out, err = here("--resume", run_dir, "--trust-code", script=ODS_DISTILL)
    assert (code, err) == (0, ""), out + err
    summary = summary_of(run_dir)
    assert hash_of(summary) == hash_of(undisturbed.summary)
    assert losses(run_dir) == losses(undisturbed.run_dir)
    for key in ("students", "teachers", "best", "teacher_diversity"):
        assert summary[key] == undisturbed.summary[key], key
    check_table(out, summary)
    assert f"everything is in {run_dir}" in out


def check_table(out, summary):
    """A row for the student, its members, its best, and the teachers' ensembles of each size."""
    (student,) = summary["students"]
    for heading in ("accuracy", "NLL", "Brier", "ECE", "cNLL", "DEE", "KL"):
        assert heading in out
    teachers, best = summary["teachers"], summary["best"]
    rows = {
        ("0", "member", "0"): student["members"][0],
        ("0", "member", "1"): student["members"][1],
        ("best", "epoch", f"{best['epoch']:g}"): best,
        ("DE-1", "teachers"): teachers[0],
        ("DE-2", "teachers"): teachers[1],
    }
    for name, line in rows.items():
        for number in (f"{100 * line['test_accuracy']:.2f}", f"{line['test_nll']:.3f}"):
            assert number in row(out, *name), name
    assert "DE-3" not in out
    # The student's own network has a name too long for a line.
    (own,) = [x.split() for x in out.splitlines() if x.startswith("0 ") and "member " not in x]
    assert f"{100 * student['test_accuracy']:.2f}" in own


def test_what_a_run_leaves_behind(undisturbed):
    summary = summary_of(undisturbed.run_dir)
    (student,) = summary["students"]
    assert (summary["student"], summary["method"], summary["perturbation"]) == (
        "be", "one_to_one", "ods",
    )  # fmt: skip
    assert [line["member"] for line in student["members"]] == [0, 1]
    assert [line["size"] for line in summary["teachers"]] == [1, 2]
    assert 1 <= student["dee"] <= 2
    for folder in ("students/0", "students/0/best"):
        loaded = load_student(undisturbed.run_dir / folder, trust_code=True)
        assert isinstance(loaded, MembersStudent)
        posterior = loaded(torch.rand(3, 1, 8, 8)).exp().sum(1)
        assert posterior.tolist() == pytest.approx([1] * 3, rel=1e-5)


def test_the_config_repeats_the_run(undisturbed, tmp_path, monkeypatch):
    """From another directory, to the same weights."""
    file = undisturbed.run_dir / "config.yaml"
    monkeypatch.chdir(tmp_path)
    given = ("--config", file, "--trust-code", "--run-dir", "again")
    code, out, err = here(*given, script=ODS_DISTILL)
    assert (code, err) == (0, ""), out + err
    assert hash_of(summary_of(tmp_path / "again")) == hash_of(undisturbed.summary)


def test_evaluate_gives_the_summary_s_numbers(undisturbed):
    code, out, err = here(undisturbed.run_dir, "--trust-code", script="evaluate.py")
    assert (code, err) == (0, ""), out + err
    (student,) = undisturbed.summary["students"]
    (line,) = [line for line in out.splitlines() if f"{STUDENT}+members=2" in line]
    assert f"{100 * student['test_accuracy']:.2f}" in line.split()


def test_analyse_finds_members_and_teachers(undisturbed, tmp_path):
    output = tmp_path / "out"
    what = ("--analyses", "diversity,jacobian", "--examples", 16, "--draws", 2, "--trust-code")
    code, out, err = here(undisturbed.run_dir, *what, "--output", output, script="analyse.py")
    assert (code, err) == (0, ""), out + err
    assert len(list(output.iterdir())) >= 2
