"""What a trial tells Tune, when, and how Tune stops it; Tune itself is played by the test."""

import json

import pytest
from ray import tune

from cohort.tuning.on_ray.reporter import Reporter
from tests.support.fake_run import record, write_run

TOTAL = 16
"""Steps of the run, four an epoch."""


class Trial:
    """A run folder, its reporter, and what Tune has heard."""

    def __init__(self, tmp_path, monkeypatch, *, stop_at=()):
        self.path = write_run(tmp_path / "run")
        self.stop_file = tmp_path / "stopping"
        self.heard = []
        self._stop_at = stop_at
        self.reporter = Reporter(self.path, self.stop_file)
        monkeypatch.setattr(tune, "report", self._hear)

    def _hear(self, measured):
        self.heard.append(measured)
        if measured.get("step") in self._stop_at:
            raise SystemExit(0)

    @property
    def steps(self):
        return [measured["step"] for measured in self.heard]

    def evaluated(self, *steps, students=(0,), **more):
        for step in steps:
            for student in students:
                self.reporter.recorded(record(step, student, (step + student) / 100, **more))

    def saved(self, *steps):
        for step in steps:
            self.reporter.saved(step, TOTAL)


@pytest.fixture
def trial(tmp_path, monkeypatch):
    return Trial(tmp_path, monkeypatch)


def test_an_evaluation_is_reported_whole_once_a_checkpoint_covers_it(trial):
    trial.evaluated(4, students=(0, 2))
    trial.saved(2)
    assert trial.heard == []
    trial.evaluated(4, phase="validation")
    trial.evaluated(4, phase="train")
    trial.saved(4)
    of_students = {"student_0_test_accuracy": 0.04, "student_2_test_accuracy": 0.06}
    validation = {"validation_accuracy": 0.04, "student_0_validation_accuracy": 0.04}
    row = {"step": 4, "epoch": 1.0, "test_accuracy": 0.05, **of_students, **validation}
    assert trial.heard == [{**row, "total_epochs": 4.0}]


def test_no_evaluation_is_reported_twice(trial):
    trial.evaluated(4)
    trial.saved(4, 5, 6)
    trial.evaluated(8)
    trial.saved(9)
    assert trial.steps == [4, 8]


def test_of_several_only_the_newest_is_reported(trial):
    trial.evaluated(2, 4)
    trial.saved(5)
    trial.evaluated(6)
    trial.saved(7)
    assert trial.steps == [4, 6]


def test_what_was_measured_before_a_student_died_is_forgotten(trial):
    """They go back to a checkpoint, here of step 4, and the dropped one is in no mean any more."""
    trial.evaluated(6, 8, students=(0, 1))
    trial.evaluated(6)
    trial.saved(6)
    trial.evaluated(8, students=(0, 1))
    trial.evaluated(8)
    trial.saved(8)
    assert [(each["step"], each["test_accuracy"]) for each in trial.heard] == [(6, 0.06), (8, 0.08)]
    assert not any("student_1_test_accuracy" in each for each in trial.heard)


def test_the_last_step_is_left_to_the_end_of_the_trial(trial):
    trial.evaluated(12, TOTAL)
    trial.saved(TOTAL)
    assert trial.heard == []


def write_down(trial, *steps):
    lines = [json.dumps(record(step, 0, step / 100)) + "\n" for step in steps]
    (trial.path / "metrics.jsonl").write_text("".join(lines))


def test_who_goes_on_repeats_what_was_measured_up_to_there(trial):
    write_down(trial, 4, 8, 12)
    trial.reporter.repeat(8)
    assert trial.steps == [4, 8]
    trial.saved(10)
    assert trial.steps == [4, 8]
    trial.evaluated(12)
    trial.saved(12)
    assert trial.steps == [4, 8, 12]


def test_tune_ends_a_trial_at_a_report(tmp_path, monkeypatch):
    trial = Trial(tmp_path, monkeypatch, stop_at=(4,))
    assert not trial.reporter.stopping()
    trial.evaluated(4)
    trial.saved(4)
    assert trial.reporter.stopping()


def test_whoever_is_stopped_while_repeating_says_no_more(tmp_path, monkeypatch):
    trial = Trial(tmp_path, monkeypatch, stop_at=(4,))
    write_down(trial, 4, 8, 12)
    trial.reporter.repeat(12)
    assert trial.steps == [4]
    assert trial.reporter.stopping()


def test_the_stop_file_stops_it(trial):
    assert not trial.reporter.stopping()
    trial.stop_file.touch()
    assert trial.reporter.stopping()


def test_what_else_goes_wrong_in_a_report_is_not_hidden(trial, monkeypatch):
    def fail(measured):
        raise RuntimeError("Tune is gone")

    monkeypatch.setattr(tune, "report", fail)
    with pytest.raises(RuntimeError, match="Tune is gone"):
        trial.reporter.report({"ended": "finished"})
