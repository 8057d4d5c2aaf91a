"""How far a study is, from what lies in its folder."""

import dataclasses

import pytest

from cohort.errors import ConfigError
from cohort.tuning.axes import Grid, Uniform
from cohort.tuning.folder import StudyFolder
from cohort.tuning.space import Point
from cohort.tuning.state import check_same_meaning, ended_trials, known_points, known_trials
from cohort.tuning.study import Asha, NoScheduler, OptunaSearch
from cohort.tuning.trials import points_of, trials_of
from tests.support.fake_run import record, student, write_run
from tests.support.studies import make_study

ASHA = Asha(grace_epochs=2, reduction_factor=4)


@pytest.fixture
def folder(tmp_path):
    return StudyFolder(tmp_path)


def only_trial(study):
    (spec,) = known_trials(study, StudyFolder("none"))
    return spec


def small(scheduler=ASHA):
    return make_study(scheduler=scheduler, space={"k": Grid((2,))})


def stopped_by(folder, spec, scheduler):
    folder.record_decision(spec.name, "stopped", step=4, scheduler=dataclasses.asdict(scheduler))


def evaluated(path, status=None, **summary):
    records = [record(4, 0, 0.25), record(8, 0, 0.5)]
    return write_run(path, status=status, records=records, **summary)


HISTORY = [
    {"step": 4, "epoch": 1.0, "test_accuracy": 0.25, "student_0_test_accuracy": 0.25},
    {"step": 8, "epoch": 2.0, "test_accuracy": 0.5, "student_0_test_accuracy": 0.5},
]


def test_a_finished_trial_counts_with_its_summary_whoever_scheduled_it(folder):
    spec = only_trial(small())
    evaluated(folder.trial(spec), status="finished", students=[student(0, 0.75)])
    for scheduler in (NoScheduler(), ASHA):
        ended = ended_trials(small(scheduler), folder, [spec])
        assert ended.values == {spec.name: 0.75}
        assert ended.histories == {spec.name: HISTORY}


def test_what_this_scheduler_stopped_counts_with_its_last_evaluation(folder):
    spec = only_trial(small())
    evaluated(folder.trial(spec), status="interrupted")
    stopped_by(folder, spec, ASHA)
    ended = ended_trials(small(), folder, [spec])
    assert ended.values == {spec.name: 0.5}
    assert ended.histories == {spec.name: HISTORY}


@pytest.mark.parametrize("other", [NoScheduler(), dataclasses.replace(ASHA, grace_epochs=3)])
def test_what_another_scheduler_stopped_goes_on(other, folder):
    spec = only_trial(small())
    evaluated(folder.trial(spec), status="interrupted")
    stopped_by(folder, spec, ASHA)
    assert ended_trials(small(other), folder, [spec]).values == {}
    stopped_by(folder, spec, other)  # as well, later
    assert ended_trials(small(other), folder, [spec]).values == {spec.name: 0.5}


def test_a_trial_that_failed_was_interrupted_or_never_began_is_to_be_trained(folder):
    spec = only_trial(small())
    assert ended_trials(small(), folder, [spec]).values == {}
    for name, status in (("failed", "failed"), ("interrupted", "interrupted"), ("killed", None)):
        trial = dataclasses.replace(spec, name=name)
        evaluated(folder.trial(trial), status=status)
        folder.record_decision(name, "failed", reason="it died")
        assert ended_trials(small(), folder, [trial]).values == {}


def test_what_ended_without_the_metric_has_no_value_and_is_not_repeated(folder):
    study = dataclasses.replace(small(), metric="validation_accuracy")
    a, b = (dataclasses.replace(only_trial(study), name=name) for name in "ab")
    evaluated(folder.trial(a), status="finished", students=[student(0, 0.75)])
    write_run(folder.trial(b))  # stopped before its first evaluation
    stopped_by(folder, b, ASHA)
    ended = ended_trials(study, folder, [a, b])
    assert ended.values == {"a": None, "b": None}
    assert ended.histories == {"a": HISTORY, "b": []}


def test_the_trials_of_lists_are_known_beforehand(folder):
    study = make_study(seeds=(0, 1))
    expected = [spec for point in points_of(study) for spec in trials_of(study, point)]
    assert known_trials(study, folder) == expected
    assert len(expected) == 6


def test_those_of_optuna_are_the_suggested_ones_each_once(folder):
    search = OptunaSearch(samples=5)
    study = make_study(search=search, space={"lr": Uniform(0.1, 1.0)}, seeds=(0, 1))
    assert known_trials(study, folder) == []
    points = [Point({"lr": lr}, {"lr": lr}) for lr in (0.5, 0.25, 0.5)]
    for point in points:
        folder.record_suggestion(point)
    assert known_points(study, folder) == points
    known = [(spec.values["lr"], spec.seed) for spec in known_trials(study, folder)]
    assert known == [(0.5, 0), (0.5, 1), (0.25, 0), (0.25, 1)]


def test_a_study_of_an_earlier_version_is_not_mixed_with_another_objective(folder):
    """Its trials' hints were means; those that it has left would be sums."""

    def study_of(**base):
        return make_study(
            command="self_distill",
            base={"dataset": "digits", **base},
            space={"alpha": Grid((0.1, 0.3))},
        )

    study = study_of()
    check_same_meaning(study, folder)
    first = known_trials(study, folder)[0]
    config = write_run(folder.trial(first)) / "config.yaml"
    old = "run_dir: null\nmethod: byot\nhint_weight: 0.03\n"
    config.write_text(old)
    with pytest.raises(ConfigError, match=rf"trial {first.name} .* hint_distance: mean today"):
        check_same_meaning(study, folder)
    check_same_meaning(study_of(hint_distance="mean"), folder)
    config.write_text(old + "hint_distance: sum\n")
    check_same_meaning(study, folder)
