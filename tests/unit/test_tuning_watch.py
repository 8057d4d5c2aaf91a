"""Tune's events become lines for people and decisions on record."""

import io

import pytest
from ray.exceptions import RayActorError
from rich.console import Console

from cohort.tuning.folder import StudyFolder
from cohort.tuning.on_ray.watch import Watch
from cohort.tuning.progress import StudyProgress
from cohort.tuning.study import Asha
from tests.support.studies import make_study, make_trial, result


class Events:
    """A watch, and Tune's events as it gives them."""

    def __init__(self, path, interrupted=False, **changes):
        self.out = io.StringIO()
        console = Console(file=self.out, force_terminal=False, width=80)
        progress = StudyProgress(
            "test_accuracy", "max", 3, console=console, clock=lambda: 0.0, interval=0.0
        )
        self.folder = StudyFolder.create(path / "study", "seeds: [0]\n")
        study = make_study(**{"scheduler": Asha()} | changes)
        self.watch = Watch(study, self.folder, progress, lambda: interrupted)

    def tell(self, event, trial, **details):
        getattr(self.watch, event)(iteration=1, trials=[trial], trial=trial, **details)

    def report(self, trial, reported):
        # Tune updates the trial after its callbacks.
        self.tell("on_trial_result", trial, result=reported)
        trial.run_metadata.last_result = reported

    @property
    def lines(self):
        return self.out.getvalue().splitlines()


@pytest.fixture
def events(tmp_path):
    return Events(tmp_path)


@pytest.fixture
def trial():
    return make_trial("a")


def test_a_trial_that_finishes_is_shown_and_no_decision(events, trial):
    events.tell("on_trial_start", trial)
    events.report(trial, result(4, 0.5))
    events.report(trial, result(9, 0.75, ended="finished"))
    events.tell("on_trial_complete", trial)
    first, second, end = events.lines
    assert first == "0/3 trials  eta –  k=2 seed=0: epoch 4/9 test_accuracy 0.5000"
    assert "epoch 9/9 test_accuracy 0.7500" in second
    assert end.startswith("k=2 seed=0 finished after 0:00:00: test_accuracy 0.7500  (1/3 trials")
    assert events.folder.decisions() == []


def test_a_trial_that_ends_without_saying_so_was_stopped(events, trial):
    events.tell("on_trial_start", trial)
    events.report(trial, result(4, 0.5))
    events.tell("on_trial_complete", trial)
    scheduler = {"kind": "asha", "grace_epochs": 1, "reduction_factor": 3}
    assert events.folder.decisions() == [
        {"trial": "a", "kind": "stopped", "step": 40, "scheduler": scheduler}
    ]
    assert "k=2 seed=0 stopped after 0:00:00: test_accuracy 0.5000" in events.lines[-1]


def test_a_trial_that_says_it_failed_is_recorded_with_the_reason(events, trial):
    events.tell("on_trial_start", trial)
    events.report(trial, {"step": 7, "ended": "failed", "reason": "loss is nan at step 7"})
    events.tell("on_trial_complete", trial)
    assert events.folder.decisions() == [
        {"trial": "a", "kind": "failed", "reason": "loss is nan at step 7"}
    ]
    (line,) = events.lines
    assert line.startswith("k=2 seed=0 failed after 0:00:00: loss is nan at step 7  (1/3 trials")


def test_a_trial_of_which_the_process_died_is_recorded_with_the_error(events, trial, monkeypatch):
    error = RayActorError(error_msg="The actor died: out of memory.\nmore")
    monkeypatch.setattr(trial, "get_pickled_error", lambda: error)
    events.tell("on_trial_start", trial)
    trial.run_metadata.num_failures = 1
    events.tell("on_trial_recover", trial)
    assert events.folder.decisions() == []
    said = "RayActorError: The actor died: out of memory."
    assert events.lines == [f"k=2 seed=0 died (1 of 3) and goes on: {said}"]
    events.tell("on_trial_error", trial)
    assert events.folder.decisions() == [{"trial": "a", "kind": "failed", "reason": said}]
    assert f"k=2 seed=0 failed after 0:00:00: {said}" in events.lines[1]


def test_a_trial_that_could_not_even_be_started_failed_too(events, trial):
    events.tell("on_trial_error", trial)
    assert events.folder.decisions() == [
        {"trial": "a", "kind": "failed", "reason": "its process died"}
    ]
    assert "1/3 trials" in events.lines[0]


def test_an_interrupted_trial_was_neither_stopped_nor_did_it_fail(tmp_path, trial):
    events = Events(tmp_path, interrupted=True)
    events.tell("on_trial_start", trial)
    events.report(trial, result(4, 0.5))
    shown = events.lines
    events.tell("on_trial_complete", trial)
    events.tell("on_trial_error", trial)
    assert events.folder.decisions() == []
    assert events.lines == shown


def test_what_a_trial_says_of_its_end_counts_though_the_study_is_interrupted(tmp_path, trial):
    events = Events(tmp_path, interrupted=True)
    events.tell("on_trial_start", trial)
    events.report(trial, {"ended": "failed", "reason": "loss is nan"})
    events.tell("on_trial_complete", trial)
    assert [each["reason"] for each in events.folder.decisions()] == ["loss is nan"]


def test_epochs_are_known_from_the_config_before_the_first_report(events, trial):
    trial.config["trial"]["values"]["epochs"] = 20
    events.tell("on_trial_start", trial)
    events.report(trial, {"step": 10, "epoch": 1.0, "test_accuracy": 0.5})
    assert "epoch 1/20 " in events.lines[0]
