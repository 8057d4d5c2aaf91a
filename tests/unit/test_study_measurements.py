"""Measurements of runs of all commands have the same flat names, and means done by hand."""

import doctest
import json
import math

import pytest

from cohort.errors import ConfigError
from cohort.tuning import measurements
from cohort.tuning.measurements import finals, flat, history, state_of
from tests.support.fake_run import record, student, write_run

EXITS = {"accuracy": [0.25, 0.5]}


def test_examples():
    tested = doctest.testmod(measurements)
    assert tested.attempted > 0
    assert tested.failed == 0


def test_several_students_and_their_ensemble():
    found = flat([record(8, 0, 0.5), record(8, 1, 0.75), record(8, "ensemble", 0.875, nll=0.5)])
    assert found == {
        "test_accuracy": 0.625,
        "ensemble_test_accuracy": 0.875,
        "ensemble_test_nll": 0.5,
        "student_0_test_accuracy": 0.5,
        "student_1_test_accuracy": 0.75,
    }


def test_one_student_of_a_job():
    records = [
        record(8, 0, 0.5, exits=EXITS, note="text", flag=True),
        record(8, "ensemble_deepest", 0.75),
        record(8, 0, 0.25, phase="validation", members=EXITS),
        record(8, 0, 0.125, phase="train"),
    ]
    assert flat(records) == {
        "test_accuracy": 0.5,
        "validation_accuracy": 0.25,
        "student_0_test_accuracy": 0.5,
        "student_0_validation_accuracy": 0.25,
        "ensemble_deepest_test_accuracy": 0.75,
    }


def test_of_equal_records_the_later_counts():
    assert flat([record(8, 0, 0.5), record(8, 0, 0.75)])["test_accuracy"] == 0.75


def test_a_number_that_was_not_finite_is_nan_and_so_is_the_mean():
    found = flat([record(8, 0, 0.5, nll=None), record(8, 1, 0.75, nll=1.0)])
    assert math.isnan(found["test_nll"])
    assert math.isnan(found["student_0_test_nll"])
    assert found["student_1_test_nll"] == 1


def test_history_is_in_order_and_later_records_of_a_step_win(tmp_path):
    records = [
        record(4, 0, 0.25, phase="train"),
        record(8, 0, 0.5),
        record(4, 0, 0.25),
        record(6, 0, 0.1, phase="train"),
        record(8, 0, 0.75),
        record(8, 0, 0.625, phase="validation"),
    ]
    found = history(write_run(tmp_path / "run", records=records))
    means = [{key: row[key] for key in row if "student" not in key} for row in found]
    assert means == [
        {"step": 4, "epoch": 1.0, "test_accuracy": 0.25},
        {"step": 8, "epoch": 2.0, "test_accuracy": 0.75, "validation_accuracy": 0.625},
    ]


def test_no_history(tmp_path):
    assert history(tmp_path / "none") == []


def test_finals_of_a_cohort(tmp_path):
    run = write_run(
        tmp_path / "run",
        status="finished",
        dropped=[2],
        students=[student(0, 0.5, train_entropy=1.0), student(1, 0.75, train_entropy=2.0)],
        ensemble={"test_accuracy": 0.875},
    )
    assert finals(run) == {
        "status": "finished",
        "steps": 8,
        "epochs": 2.0,
        "wall_seconds": 1.5,
        "images_per_second": 99.5,
        "restarts": 0,
        "dropped": 1,
        "parameters": 100.5,
        "test_accuracy": 0.625,
        "train_entropy": 1.5,
        "ensemble_test_accuracy": 0.875,
        "student_0_parameters": 100,
        "student_0_test_accuracy": 0.5,
        "student_0_train_entropy": 1.0,
        "student_1_parameters": 101,
        "student_1_test_accuracy": 0.75,
        "student_1_train_entropy": 2.0,
    }


def test_finals_of_a_job_have_its_best_and_the_last_validation(tmp_path):
    run = write_run(
        tmp_path / "run",
        status="finished",
        records=[
            record(4, 0, 0.75, phase="validation"),
            record(8, 0, 0.5, phase="validation"),
            record(8, "ensemble", 0.25, phase="validation"),
        ],
        eta=1.0,
        students=[student(0, 0.5, dee=1.5, members=[{"member": 0, "test_accuracy": 0.1}])],
        best={"step": 4, "validation_accuracy": 0.75, "test_accuracy": 0.625},
        teachers=[{"size": 1, "test_accuracy": 0.9}],
        teacher_diversity=0.125,
    )
    heads = (*HEADS, "student_0")
    measured = {k: v for k, v in finals(run).items() if not k.startswith(heads)}
    assert measured == {
        "validation_accuracy": 0.5,
        "ensemble_validation_accuracy": 0.25,
        "parameters": 100,
        "test_accuracy": 0.5,
        "dee": 1.5,
        "best_step": 4,
        "best_validation_accuracy": 0.75,
        "best_test_accuracy": 0.625,
        "teacher_diversity": 0.125,
    }


HEADS = (
    "status", "steps", "epochs", "wall_seconds", "images_per_second", "restarts", "dropped",
)  # fmt: skip


def test_finals_of_runs_that_have_not_finished(tmp_path):
    assert finals(write_run(tmp_path / "running", records=[record(4, 0, 0.5)])) is None
    interrupted = finals(
        write_run(tmp_path / "stopped", status="interrupted", records=[record(4, 0, 0.5)])
    )
    assert interrupted is not None
    assert tuple(interrupted) == HEADS


@pytest.mark.parametrize(
    ("status", "state"),
    [(None, "running"), ("interrupted", "running"), ("finished", "finished"), ("failed", "failed")],
)
def test_state(tmp_path, status, state):
    assert state_of(write_run(tmp_path / "run", status=status)) == state


def test_a_folder_without_config_is_new(tmp_path):
    assert state_of(tmp_path / "none") == "new"


def test_damage_is_told(tmp_path):
    run = write_run(tmp_path / "run", status="finished")
    (run / "summary.json").write_text("{")
    with pytest.raises(ConfigError, match=r"summary\.json does not describe how a run ended"):
        state_of(run)
    (run / "metrics.jsonl").write_text("x\n" + json.dumps(record(4, 0, 0.5)) + "\n")
    with pytest.raises(ConfigError, match="line 1"):
        history(run)
