"""Which trials go on, by reports alone: no cluster, and trials that nothing runs."""

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from cohort.tuning.on_ray.schedulers import build_scheduler, replay
from cohort.tuning.study import Asha, NoScheduler
from tests.support.studies import make_study, make_trial, result

CONTINUE, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP


class Controller:
    """What a scheduler sees of Tune's: a trial waits."""

    def get_trials(self):
        return [make_trial("waiting")]


def scheduler_of(section=None, **changes):
    section = section or Asha(grace_epochs=2, reduction_factor=2)
    return build_scheduler(make_study(scheduler=section, **changes))


def add(scheduler, name):
    trial = make_trial(name)
    trial.status = Trial.RUNNING
    scheduler.on_trial_add(Controller(), trial)
    return trial


def report(scheduler, trial, *values, first=1, **more):
    """What the scheduler says to the values after epochs ``first``, ``first`` + 1, ..."""
    return [
        scheduler.on_trial_result(Controller(), trial, result(epoch, value, **more))
        for epoch, value in enumerate(values, start=first)
    ]


def history(*values):
    return [result(epoch, value) for epoch, value in enumerate(values, start=1)]


def test_without_a_scheduler_all_go_on():
    scheduler = scheduler_of(NoScheduler())
    assert type(scheduler) is FIFOScheduler
    assert report(scheduler, add(scheduler, "a"), 0.1, 0.0) == [CONTINUE] * 2


def test_asha_stops_the_worse_half_at_its_rungs():
    scheduler = scheduler_of()
    for name, value in (("a", 0.5), ("b", 0.7)):
        assert report(scheduler, add(scheduler, name), value, value) == [CONTINUE] * 2
    # At the rung of 2 epochs, not before: the median of 0.5 and 0.7 is to be reached.
    assert report(scheduler, add(scheduler, "c"), 0.1, 0.59) == [CONTINUE, STOP]
    assert report(scheduler, add(scheduler, "d"), 0.1, 0.61) == [CONTINUE] * 2


def test_less_may_be_better():
    scheduler = scheduler_of(mode="min")
    for name, value in (("a", 0.5), ("b", 0.6), ("c", 0.7)):
        report(scheduler, add(scheduler, name), value, value)
    assert report(scheduler, add(scheduler, "d"), 0.9, 0.9) == [CONTINUE, STOP]
    assert report(scheduler, add(scheduler, "e"), 0.4, 0.4) == [CONTINUE] * 2


@pytest.mark.parametrize("end", [{"total_epochs": 2}, {"ended": "finished"}], ids=str)
def test_no_trial_is_stopped_at_its_end_and_all_ends_count(end):
    scheduler = scheduler_of()
    for name in "abc":
        trial = add(scheduler, name)
        report(scheduler, trial, 0.7)
        assert report(scheduler, trial, 0.7, first=2, **end) == [CONTINUE]
        scheduler.on_trial_complete(Controller(), trial, result(2, 0.7, **end))
    bad = add(scheduler, "bad")
    assert report(scheduler, bad, 0.1) == [CONTINUE]
    assert report(scheduler, bad, 0.1, first=2, **end) == [CONTINUE]
    assert report(scheduler, add(scheduler, "worse"), 0.05, 0.05) == [CONTINUE, STOP]


def test_a_new_trial_is_compared_with_those_of_an_earlier_session():
    told, alone = scheduler_of(), scheduler_of()
    good = {name: history(0.5, 0.6, 0.7) for name in "abc"}
    replay(told, good | {"stopped": history(0.1, 0.2)})
    assert report(told, add(told, "bad"), 0.1, 0.15) == [CONTINUE, STOP]
    assert report(told, add(told, "good"), 0.6, 0.65) == [CONTINUE] * 2
    assert report(alone, add(alone, "bad"), 0.1, 0.15) == [CONTINUE] * 2


@pytest.mark.parametrize("value", [0.1, 0.45, 0.55, 0.65, 0.9])
def test_a_replayed_scheduler_decides_as_the_one_that_saw_it_all(value):
    histories = {
        "a": history(0.2, 0.5, 0.6, 0.6),
        "b": history(0.1, 0.6, 0.7),
        "c": history(0.3, 0.4),
        "d": history(0.3, 0.7, 0.8, 0.9, 0.9),
    }
    live, told = scheduler_of(), scheduler_of()
    for name, results in histories.items():
        trial = add(live, name)
        for each in results:
            if live.on_trial_result(Controller(), trial, each) == STOP:
                break
        live.on_trial_complete(Controller(), trial, each)
        histories[name] = results[: results.index(each) + 1]
    replay(told, histories)
    decisions = [report(one, add(one, "new"), 0.0, value) for one in (live, told)]
    assert decisions[0] == decisions[1]


def test_a_failed_trial_without_the_metric_disturbs_nobody():
    scheduler = scheduler_of()
    failed = {"step": 9, "epoch": 2, "ended": "failed", "reason": "loss is nan"}
    for name in "abcd":
        trial = add(scheduler, name)
        report(scheduler, trial, 0.5)
        assert scheduler.on_trial_result(Controller(), trial, failed) == CONTINUE
        scheduler.on_trial_complete(Controller(), trial, failed)
    replay(scheduler, {"e": [failed], "f": history(0.5, 0.5)})
    assert report(scheduler, add(scheduler, "g"), 0.6, 0.6) == [CONTINUE] * 2


def test_a_resumed_trial_does_not_enter_the_rungs_that_it_had_passed():
    scheduler = scheduler_of()
    resumed = add(scheduler, "resumed")
    assert report(scheduler, resumed, 0.9, 0.9, first=5) == [CONTINUE] * 2
    # Nobody else was at 2 epochs: a value of the sixth is none of the second.
    assert report(scheduler, add(scheduler, "new"), 0.1, 0.1) == [CONTINUE] * 2
