"""Which trials go on, by reports alone: no cluster, and trials that nothing runs."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
from ray.tune import Checkpoint
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import SearchGenerator

from cohort.tuning.axes import Choice, LogUniform, RandInt, Uniform
from cohort.tuning.on_ray.schedulers import build_scheduler, replay
from cohort.tuning.study import Asha, Median, NoScheduler, Pbt, RandomSearch
from tests.support.studies import make_study, make_trial, result

CONTINUE, STOP, PAUSE = TrialScheduler.CONTINUE, TrialScheduler.STOP, TrialScheduler.PAUSE
ASHA = Asha(grace_epochs=2, reduction_factor=2)
MEDIAN = Median(grace_epochs=2, min_trials=3)


class Controller:
    """What schedulers see of Tune's: trials of which one waits; saves and pauses are at once."""

    def __init__(self, waiting=True):
        self.trials = [make_trial("waiting")] if waiting else []
        self.search_alg = object.__new__(SearchGenerator)

    def get_trials(self):
        return self.trials

    def get_live_trials(self):
        return set(self.trials)

    def _schedule_trial_save(self, trial, result):
        return Checkpoint(f"/checkpoint/{trial.trial_id}")

    def pause_trial(self, trial, should_checkpoint):
        trial.status = Trial.PAUSED


def scheduler_of(section, **changes):
    return build_scheduler(make_study(scheduler=section, **changes))


def add(scheduler, name, controller=None, **config):
    trial = make_trial(name, **config)
    trial.status = Trial.RUNNING
    controller = controller or Controller()
    controller.trials.append(trial)
    scheduler.on_trial_add(controller, trial)
    return trial


def report(scheduler, trial, *values, first=1, controller=None, **more):
    """What the scheduler says to the values after epochs ``first``, ``first`` + 1, ..."""
    return [
        scheduler.on_trial_result(controller or Controller(), trial, result(epoch, value, **more))
        for epoch, value in enumerate(values, start=first)
    ]


def history(*values):
    return [result(epoch, value) for epoch, value in enumerate(values, start=1)]


def test_without_a_scheduler_all_go_on():
    scheduler = scheduler_of(NoScheduler())
    assert type(scheduler) is FIFOScheduler
    assert report(scheduler, add(scheduler, "a"), 0.1, 0.0) == [CONTINUE] * 2


def test_asha_stops_the_worse_half_at_its_rungs():
    scheduler = scheduler_of(ASHA)
    for name, value in (("a", 0.5), ("b", 0.7)):
        assert report(scheduler, add(scheduler, name), value, value) == [CONTINUE] * 2
    # At the rung of 2 epochs, not before: the median of 0.5 and 0.7 is to be reached.
    assert report(scheduler, add(scheduler, "c"), 0.1, 0.59) == [CONTINUE, STOP]
    assert report(scheduler, add(scheduler, "d"), 0.1, 0.61) == [CONTINUE] * 2


def test_median_stops_what_is_worse_than_half_of_the_running_means():
    scheduler = scheduler_of(MEDIAN)
    for name, value in (("a", 0.5), ("b", 0.6), ("c", 0.7)):
        assert report(scheduler, add(scheduler, name), 0.9, value) == [CONTINUE] * 2
    assert report(scheduler, add(scheduler, "d"), 0.1, 0.59) == [CONTINUE, STOP]
    assert report(scheduler, add(scheduler, "e"), 0.61, 0.1) == [CONTINUE] * 2  # its best counts


@pytest.mark.parametrize("section", [ASHA, MEDIAN], ids=["asha", "median"])
def test_less_may_be_better(section):
    scheduler = scheduler_of(section, mode="min")
    for name, value in (("a", 0.5), ("b", 0.6), ("c", 0.7)):
        report(scheduler, add(scheduler, name), value, value)
    assert report(scheduler, add(scheduler, "d"), 0.9, 0.9) == [CONTINUE, STOP]
    assert report(scheduler, add(scheduler, "e"), 0.4, 0.4) == [CONTINUE] * 2


def test_nothing_is_paused_for_trials_that_wait():
    for section in (ASHA, MEDIAN):
        scheduler = scheduler_of(section)
        assert report(scheduler, add(scheduler, "a"), 0.5, 0.5, 0.5) == [CONTINUE] * 3


@pytest.mark.parametrize("section", [ASHA, MEDIAN], ids=["asha", "median"])
@pytest.mark.parametrize("end", [{"total_epochs": 2}, {"ended": "finished"}], ids=str)
def test_no_trial_is_stopped_at_its_end_and_all_ends_count(section, end):
    scheduler = scheduler_of(section)
    for name in "abc":
        trial = add(scheduler, name)
        report(scheduler, trial, 0.7)
        assert report(scheduler, trial, 0.7, first=2, **end) == [CONTINUE]
        scheduler.on_trial_complete(Controller(), trial, result(2, 0.7, **end))
    bad = add(scheduler, "bad")
    assert report(scheduler, bad, 0.1) == [CONTINUE]
    assert report(scheduler, bad, 0.1, first=2, **end) == [CONTINUE]
    assert report(scheduler, add(scheduler, "worse"), 0.05, 0.05) == [CONTINUE, STOP]


@pytest.mark.parametrize("section", [ASHA, MEDIAN], ids=["asha", "median"])
def test_a_new_trial_is_compared_with_those_of_an_earlier_session(section):
    good = {name: history(0.5, 0.6, 0.7) for name in "abc"}
    stopped = {"d": history(0.1, 0.2)}
    told, alone = scheduler_of(section), scheduler_of(section)
    replay(told, good | stopped)
    assert report(told, add(told, "bad"), 0.1, 0.15) == [CONTINUE, STOP]
    assert report(told, add(told, "good"), 0.6, 0.65) == [CONTINUE] * 2
    assert report(alone, add(alone, "bad"), 0.1, 0.15) == [CONTINUE] * 2


@pytest.mark.parametrize("section", [ASHA, MEDIAN], ids=["asha", "median"])
@pytest.mark.parametrize("value", [0.1, 0.45, 0.55, 0.65, 0.9])
def test_a_replayed_scheduler_decides_as_the_one_that_saw_it_all(section, value):
    histories = {
        "a": history(0.2, 0.5, 0.6, 0.6),
        "b": history(0.1, 0.6, 0.7),
        "c": history(0.3, 0.4),
        "d": history(0.3, 0.7, 0.8, 0.9, 0.9),
    }
    live, told = scheduler_of(section), scheduler_of(section)
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


@pytest.mark.parametrize("section", [ASHA, MEDIAN], ids=["asha", "median"])
def test_a_failed_trial_without_the_metric_disturbs_nobody(section):
    scheduler = scheduler_of(section)
    failed = {"step": 9, "epoch": 2, "ended": "failed", "reason": "loss is nan"}
    for name in "abcd":
        trial = add(scheduler, name)
        report(scheduler, trial, 0.5)
        assert scheduler.on_trial_result(Controller(), trial, failed) == CONTINUE
        scheduler.on_trial_complete(Controller(), trial, failed)
    replay(scheduler, {"e": [failed], "f": history(0.5, 0.5)})
    assert report(scheduler, add(scheduler, "g"), 0.6, 0.6) == [CONTINUE] * 2


def test_the_last_value_of_a_stopped_trial_counts_once():
    scheduler = scheduler_of(Median(grace_epochs=2, min_trials=1))
    stopped, good = add(scheduler, "stopped"), add(scheduler, "good")
    report(scheduler, stopped, 0.0, 0.6)
    report(scheduler, good, 0.0, 0.8, 0.8)
    assert report(scheduler, stopped, 0.3, first=3) == [STOP]
    scheduler.on_trial_complete(Controller(), stopped, result(3, 0.3))
    # The median of 0.8 and of the mean of 0.6 and 0.3 is 0.625; it would be 0.6.
    assert report(scheduler, add(scheduler, "new"), 0.61, first=3) == [STOP]


def test_a_resumed_trial_does_not_enter_the_rungs_that_it_had_passed():
    scheduler = scheduler_of(ASHA)
    resumed = add(scheduler, "resumed")
    assert report(scheduler, resumed, 0.9, 0.9, first=5) == [CONTINUE] * 2
    # Nobody else was at 2 epochs: a value of the sixth is none of the second.
    assert report(scheduler, add(scheduler, "new"), 0.1, 0.1) == [CONTINUE] * 2


MUTATE = {
    "lr": LogUniform(0.1, 0.11),
    "alpha": Uniform(0.4, 0.5),
    "tau": RandInt(1, 6),
    "temperature": Choice((1.0, 2.0)),
}
FIRST = {"lr": 0.105, "alpha": 0.45, "tau": 5, "temperature": 1.0}


def population(resample=0.0, seed=0, **changes):
    """Four trials after two epochs; the worst one reports last."""
    pbt = Pbt(every_epochs=2, quantile=0.25, resample=resample, mutate=MUTATE)
    scheduler = scheduler_of(pbt, search=RandomSearch(samples=1, seed=seed), **changes)
    controller = Controller(waiting=False)
    trials = {}
    for name, value in (("a", 0.9), ("b", 0.5), ("c", 0.4), ("worst", 0.1)):
        trials[name] = add(scheduler, name, controller, **FIRST, study="x")
        report(scheduler, trials[name], value, value, controller=controller)
    return SimpleNamespace(scheduler=scheduler, controller=controller, **trials)


def exploit(group):
    """Two epochs later the best one is saved, and the worst goes on from it."""
    for trial, value in ((group.a, 0.95), (group.worst, 0.1)):
        report(group.scheduler, trial, value, first=4, controller=group.controller)


def test_the_worst_goes_on_from_the_best_with_its_own_name():
    group = population()
    exploit(group)
    config = group.worst.config
    assert group.worst.status == Trial.PAUSED
    assert config["donor"] == "a"
    assert config["trial"]["name"] == "worst"
    assert config["study"] == "x"
    assert "donor" not in group.a.config
    assert {key: group.a.config[key] for key in FIRST} == FIRST


def test_keys_stay_within_the_bounds_that_they_are_drawn_from():
    changed = {key: set() for key in FIRST}
    for seed in range(8):
        group = population(seed=seed)
        exploit(group)
        for key, values in changed.items():
            values.add(group.worst.config[key])
    # Both 1.2 and 0.8 times the first lr and alpha lie outside; 6 is excluded of tau.
    assert changed == {"lr": {0.1, 0.11}, "alpha": {0.4, 0.5}, "tau": {4, 5}, "temperature": {1, 2}}


def test_a_population_goes_on_after_an_evaluation_without_the_metric():
    group = population()
    without = {"step": 50, "epoch": 5}
    assert group.scheduler.on_trial_result(group.controller, group.b, without) == CONTINUE


def test_what_a_population_draws_is_a_function_of_its_seed_and_draws_from_nobody_else():
    def drawn(seed):
        random.seed(random.SystemRandom().random())
        states = random.getstate(), np.random.get_state()[1].tolist()
        group = population(resample=1.0, seed=seed)
        exploit(group)
        assert (random.getstate(), np.random.get_state()[1].tolist()) == states
        return {key: group.worst.config[key] for key in MUTATE}

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)
    assert drawn(0)["lr"] != FIRST["lr"]


def test_a_trial_at_its_end_does_not_begin_again_from_another_one():
    for end, donor in (({}, "a"), ({"ended": "finished"}, None), ({"total_epochs": 6}, None)):
        group = population()
        exploit(group)
        last = result(6, 0.0) | end
        group.scheduler.on_trial_result(group.controller, group.c, last)
        assert group.c.config.get("donor") == donor


def test_a_population_forgets_nothing_by_a_replay():
    scheduler = population().scheduler
    replay(scheduler, {"old": history(0.5, 0.5)})
    assert [trial.trial_id for trial in scheduler._trial_state] == ["a", "b", "c", "worst"]
