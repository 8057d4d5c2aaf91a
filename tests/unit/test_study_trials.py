"""Points, trials and their names: pure functions of what the study says."""

import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohort.errors import ConfigError
from cohort.jobs.ods.config import OdsConfig
from cohort.jobs.self_distill.config import SelfDistillConfig
from cohort.runtime.config import CohortConfig
from cohort.tuning.axes import Cases, Choice, Grid, LogUniform, RandInt, Uniform, Zip
from cohort.tuning.report import Report
from cohort.tuning.space import Point, draw, labels_of
from cohort.tuning.study import PreparedRun, RandomSearch, Study
from cohort.tuning.trials import TrialSpec, config_of, points_of, prepared_of, trials_of


def study_of(space, **keys):
    report = Report(metrics=("test_accuracy",))
    defaults = {"command": "launch_cohort", "seeds": (0,), "metric": "test_accuracy", "mode": "max"}
    return Study(name="study", space=space, report=report, **defaults | keys)


def test_axes_are_crossed_in_order_and_combinations_left_out():
    space = {
        "k": Grid((2, 3)),
        "size": Zip({"batch_size": (32, 64), "students": (["a", "b"], "c")}),
        "arm": Cases({"x": {"teacher": "peers"}, "y": {"command": "self_distill", "alpha": 0.5}}),
    }
    without = ({"k": 3, "arm": "x"}, {"batch_size": 32, "k": 2})
    assert points_of(study_of(space, without=without)) == [
        Point(
            {"k": 2, "batch_size": 64, "students": "c", "arm": "x"},
            {"k": 2, "batch_size": 64, "students": "c", "teacher": "peers"},
        ),
        Point(
            {"k": 2, "batch_size": 64, "students": "c", "arm": "y"},
            {"k": 2, "batch_size": 64, "students": "c", "command": "self_distill", "alpha": 0.5},
        ),
        Point(
            {"k": 3, "batch_size": 32, "students": "a,b", "arm": "y"},
            {
                "k": 3,
                "batch_size": 32,
                "students": ["a", "b"],
                "command": "self_distill",
                "alpha": 0.5,
            },
        ),
        Point(
            {"k": 3, "batch_size": 64, "students": "c", "arm": "y"},
            {"k": 3, "batch_size": 64, "students": "c", "command": "self_distill", "alpha": 0.5},
        ),
    ]
    assert labels_of(space | {"lr": Uniform(0, 1), "steps": Choice((1, 2))}) == {
        "k": (2, 3),
        "batch_size": (32, 64),
        "students": ("a,b", "c"),
        "arm": ("x", "y"),
        "lr": None,
        "steps": (1, 2),
    }


def test_a_space_without_axes_is_one_point():
    assert points_of(study_of({})) == [Point({}, {})]


VALUES = st.lists(st.integers(1, 50), min_size=1, max_size=4, unique=True).map(tuple)
SPACES = st.fixed_dictionaries(
    {},
    optional={
        "k": VALUES.map(Grid),
        "size": st.tuples(VALUES).map(lambda v: Zip({"epochs": v[0], "steps": v[0][::-1]})),
        "arm": VALUES.map(lambda v: Cases({f"c{n}": {"batch_size": n} for n in v})),
    },
)
SEEDS = st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True).map(tuple)


def sizes(space):
    return [
        len(axis.values if isinstance(axis, Grid) else axis.cases)
        if not isinstance(axis, Zip)
        else len(axis.lists["epochs"])
        for axis in space.values()
    ]


@given(SPACES, SEEDS)
def test_points_are_the_product_and_names_are_unique(space, seeds):
    study = study_of(space, seeds=seeds)
    points = points_of(study)
    assert len(points) == math.prod(sizes(space))
    names = [spec.name for point in points for spec in trials_of(study, point)]
    assert len(set(names)) == len(names) == len(points) * len(seeds)
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{9,99}", name) for name in names)


@given(SPACES, st.integers(1, 8), st.integers(1, 8), st.integers(0, 2**40))
def test_more_samples_only_add(space, samples, more, seed):
    space = {"lr": LogUniform(0.01, 1), **space, "eta": Uniform(-1, 1)}

    def points(number):
        return points_of(study_of(space, search=RandomSearch(samples=number, seed=seed)))

    fewer, all_of_them = points(samples), points(samples + more)
    assert len(fewer) == samples * math.prod(sizes(space | {"lr": Grid((1,)), "eta": Grid((1,))}))
    assert all(point in all_of_them for point in fewer)
    assert len(all_of_them) * samples == len(fewer) * (samples + more)


def test_every_cell_has_the_same_draws():
    space = {"k": Grid((2, 3)), "lr": Uniform(0, 1)}
    points = points_of(study_of(space, search=RandomSearch(samples=3, seed=5)))
    rates = [[p.values["lr"] for p in points if p.values["k"] == k] for k in (2, 3)]
    assert rates[0] == rates[1] == [draw(space, 5, index)["lr"] for index in range(3)]
    assert len(set(rates[0])) == 3
    assert [list(point.labels) for point in points] == [["k", "lr"]] * 6


def test_a_draw_that_repeats_another_is_left_out():
    space = {"k": Choice((2, 3))}
    points = points_of(study_of(space, search=RandomSearch(samples=40)))
    assert sorted(point.values["k"] for point in points) == [2, 3]


@given(st.integers(0, 2**40), st.integers(0, 10**6))
def test_draws_lie_in_their_bounds_whatever_other_axes_there_are(seed, index):
    space = {
        "lr": LogUniform(1e-4, 0.3),
        "eta": Uniform(-2, 3),
        "k": RandInt(2, 4),
        "teacher": Choice(("peers", "none")),
    }
    drawn = draw(space, seed, index)
    assert 1e-4 <= drawn["lr"] <= 0.3
    assert -2 <= drawn["eta"] <= 3
    assert drawn["k"] in (2, 3)
    assert drawn["teacher"] in ("peers", "none")
    assert draw({"k": space["k"], "lr": space["lr"]}, seed, index) == {
        "lr": drawn["lr"],
        "k": drawn["k"],
    }
    assert json.loads(json.dumps(drawn)) == drawn


def test_axes_that_are_alike_are_drawn_apart():
    drawn = draw({"lr": Uniform(0, 1), "eta": Uniform(0, 1)}, 0, 0)
    assert drawn["lr"] != drawn["eta"]


def test_draws_are_spread_as_their_axes_say():
    space = {"u": Uniform(0, 10), "l": LogUniform(1e-4, 1), "r": RandInt(0, 4)}
    draws = [draw(space, 0, index) for index in range(2000)]
    for name, below in (("u", 5), ("l", 1e-2), ("r", 2)):
        share = sum(drawn[name] < below for drawn in draws) / len(draws)
        assert 0.45 < share < 0.55, (name, share)  # 0.5 with a standard error of 0.011


def prepared_study(**keys):
    runs = {"wide": PreparedRun("launch_cohort", {"k": 1, "teacher": "none"})}
    case = {"command": "self_distill", "method": "kd", "teacher": "run:wide"}
    space = {"arm": Cases({"alone": {"k": 1, "teacher": "none"}, "taught": case})}
    return study_of(space, runs=runs, seeds=(0, 7), base={"dataset": "digits"}, **keys)


def test_a_trial_refers_to_the_prepared_run_of_its_own_seed():
    study = prepared_study()
    prepared = prepared_of(study)
    assert [(run.labels, run.seed) for run in prepared] == [({"run": "wide"}, s) for s in (0, 7)]
    assert prepared[1].values == {"threads": 1, "k": 1, "teacher": "none", "seed": 7}
    taught = trials_of(study, points_of(study)[1])
    assert [spec.command for spec in taught] == ["self_distill"] * 2
    assert [spec.values["teacher"] for spec in taught] == [f"run:{run.name}" for run in prepared]
    assert config_of(taught[1], Path("t"), Path("study/runs")) == SelfDistillConfig(
        dataset="digits",
        method="kd",
        teacher=f"study/runs/{prepared[1].name}",
        threads=1,
        seed=7,
        run_dir="t",
    )
    assert config_of(trials_of(study, points_of(study)[0])[0], None, Path("r")) == CohortConfig(
        dataset="digits", k=1, teacher="none", threads=1, seed=0
    )


def test_other_settings_of_a_prepared_run_make_another_trial():
    study = prepared_study()
    other = {"wide": PreparedRun("launch_cohort", {"k": 1, "teacher": "none", "lr": 0.5})}
    changed = study_of(study.space, runs=other, seeds=(0,), base=study.base)
    point = points_of(study)[1]
    assert trials_of(study, point)[0].name != trials_of(changed, point)[0].name


def test_a_name_is_a_function_of_content_alone():
    study = study_of({"k": Grid((3,)), "teacher": Grid(("peers",))}, seeds=(1,))
    (spec,) = trials_of(study, points_of(study)[0])
    # printf '{"command": "launch_cohort", "values": {"k": 3, ...}}' | sha256sum
    assert spec.name == "k-3.teacher-peers.seed-1.73561478"
    swapped = study_of({}, base={"threads": 1, "teacher": "peers", "k": 3}, seeds=(1,))
    (same,) = trials_of(swapped, points_of(swapped)[0])
    assert same.name == "seed-1.73561478"
    assert same.values == spec.values


def test_long_and_odd_labels_make_a_name_all_the_same():
    space = {"a b": Cases({"x/y ä" * 40: {"k": 2}, "x/y ä" * 41: {"k": 3}})}
    study = study_of(space)
    names = [trials_of(study, point)[0].name for point in points_of(study)]
    assert len(set(names)) == 2
    assert all(re.fullmatch(r"a_b-x_y_x_[A-Za-z0-9._-]+\.[0-9a-f]{8}", name) for name in names)
    assert [len(name) for name in names] == [100, 100]


def test_threads_are_one_unless_base_says_otherwise():
    study = study_of({}, base={"threads": 2})
    assert trials_of(study, Point({}, {}))[0].values == {"threads": 2, "seed": 0}


def test_a_spec_goes_through_json():
    study = prepared_study()
    for spec in trials_of(study, points_of(study)[1]):
        assert TrialSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_the_config_is_of_the_command_and_checked():
    spec = TrialSpec("name", "ods_distill", {}, 0, {"teachers": "run:de", "alpha": 0.5})
    assert config_of(spec, None, Path("r")) == OdsConfig(teachers="r/de", alpha=0.5)
    bad = TrialSpec("name", "ods_distill", {}, 0, {"alpha": 2})
    with pytest.raises(ConfigError, match=r"^name: --alpha is 2\.0; it must be from 0 to 1"):
        config_of(bad, None, Path("r"))
