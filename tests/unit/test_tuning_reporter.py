"""What a trial tells Tune, when, and how Tune stops it; Tune itself is played by the test."""

from types import SimpleNamespace

import pytest
from ray import tune

from cohort.run.checkpoint import write_checkpoint
from cohort.run.folder import RunFolder
from cohort.tuning.on_ray.reporter import Reporter
from tests.support.fake_run import record, write_run

TOTAL = 16
"""Steps of the run, four an epoch."""


class Trial:
    """A run folder, its reporter, and what Tune has heard."""

    def __init__(self, tmp_path, monkeypatch, *, hand_over=0, stop_at=()):
        self.path = write_run(tmp_path / "run")
        self.stop_file = tmp_path / "stopping"
        self.heard = []
        self.checkpoints = []
        self._stop_at = stop_at
        self.reporter = Reporter(self.path, self.stop_file, hand_over=hand_over)
        monkeypatch.setattr(tune, "report", self._hear)
        from_directory = SimpleNamespace(from_directory=lambda path: path)
        monkeypatch.setattr(tune, "Checkpoint", from_directory)

    def _hear(self, measured, checkpoint=None):
        self.heard.append(measured)
        self.checkpoints.append(checkpoint)
        if measured.get("step") in self._stop_at:
            raise SystemExit(0)

    @property
    def steps(self):
        return [measured["step"] for measured in self.heard]

    def evaluated(self, *steps):
        lines = [record(step, 0, step / 100) for step in steps]
        with (self.path / "metrics.jsonl").open("a") as file:
            file.writelines(f"{line}\n".replace("'", '"') for line in lines)

    def saved(self, step):
        root = RunFolder(self.path).checkpoints
        write_checkpoint(root, step, [(0, {"weights": b"w"})], progress={}, keep=2)
        self.reporter.saved(step, TOTAL)


@pytest.fixture
def trial(tmp_path, monkeypatch):
    return Trial(tmp_path, monkeypatch)


def test_an_evaluation_is_reported_once_a_checkpoint_covers_it(trial):
    trial.evaluated(4)
    trial.saved(2)
    assert trial.heard == []
    trial.saved(4)
    row = {"step": 4, "epoch": 1.0, "test_accuracy": 0.04, "student_0_test_accuracy": 0.04}
    assert trial.heard == [{**row, "total_epochs": 4.0}]
    assert trial.checkpoints == [None]


def test_no_evaluation_is_reported_twice(trial):
    trial.evaluated(4)
    for step in (4, 5, 6):
        trial.saved(step)
    trial.evaluated(8)
    trial.saved(9)
    assert trial.steps == [4, 8]


def test_of_several_only_the_newest_is_reported(trial):
    trial.evaluated(2, 4, 6)
    trial.saved(5)
    trial.saved(7)
    assert trial.steps == [4, 6]


def test_the_last_step_is_left_to_the_end_of_the_trial(trial):
    trial.evaluated(12, TOTAL)
    trial.saved(TOTAL)
    assert trial.heard == []


def test_who_goes_on_repeats_what_was_measured_up_to_there(trial):
    trial.evaluated(4, 8, 12)
    trial.reporter.repeat(8)
    assert trial.steps == [4, 8]
    trial.saved(10)
    assert trial.steps == [4, 8]
    trial.saved(12)
    assert trial.steps == [4, 8, 12]


def test_where_weights_move_only_the_newest_is_repeated_with_its_checkpoint(tmp_path, monkeypatch):
    trial = Trial(tmp_path, monkeypatch, hand_over=2)
    trial.evaluated(4, 8)
    trial.saved(8)
    folder = str(RunFolder(trial.path).checkpoints / "step_00000008")
    assert (trial.steps, trial.checkpoints) == ([8], [folder])
    Reporter(trial.path, trial.stop_file, hand_over=2).repeat(8)  # as a new process does
    assert (trial.steps, trial.checkpoints) == ([8, 8], [folder, folder])


def test_checkpoints_are_handed_over_when_the_scheduler_may_take_a_look(tmp_path, monkeypatch):
    trial = Trial(tmp_path, monkeypatch, hand_over=2)
    for step in (4, 8, 12):
        trial.evaluated(step)
        trial.saved(step)
    assert [checkpoint is not None for checkpoint in trial.checkpoints] == [False, True, False]


def test_a_run_without_evaluations_repeats_nothing(trial):
    trial.reporter.repeat(8)
    assert trial.heard == []


def test_tune_ends_a_trial_at_a_report(tmp_path, monkeypatch):
    trial = Trial(tmp_path, monkeypatch, stop_at=(4,))
    assert not trial.reporter.stopping()
    trial.evaluated(4)
    trial.saved(4)
    assert trial.reporter.stopping()


def test_whoever_is_stopped_while_repeating_says_no_more(tmp_path, monkeypatch):
    trial = Trial(tmp_path, monkeypatch, stop_at=(4,))
    trial.evaluated(4, 8, 12)
    trial.reporter.repeat(12)
    assert trial.steps == [4]
    assert trial.reporter.stopping()


def test_the_stop_file_stops_it(trial):
    assert not trial.reporter.stopping()
    trial.stop_file.touch()
    assert trial.reporter.stopping()


def test_what_else_goes_wrong_in_a_report_is_not_hidden(trial, monkeypatch):
    def fail(measured, checkpoint):
        raise RuntimeError("Tune is gone")

    monkeypatch.setattr(tune, "report", fail)
    with pytest.raises(RuntimeError, match="Tune is gone"):
        trial.reporter.report({"ended": "finished"})
