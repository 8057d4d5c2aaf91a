"""Where points come from: a list, or Optuna."""

import json
import sys

import pytest

from cohort.errors import ConfigError
from cohort.tuning.axes import Choice, LogUniform, RandInt, Uniform
from cohort.tuning.search import OptunaPoints, listed
from cohort.tuning.space import Point
from cohort.tuning.study import OptunaSearch
from tests.support.studies import make_study

SPACE = {
    "lr": LogUniform(0.01, 0.3),
    "mimicry_weight": Uniform(0.0, 2.0),
    "k": RandInt(1, 3),
    "students": Choice(("resnet8", ["resnet8", "resnet14"], True)),
}


def optuna_study(samples=6, seed=0, **changes):
    search = OptunaSearch(samples=samples, seed=seed)
    return make_study(**{"space": SPACE, "search": search} | changes)


def run(source, value_of, most=100):
    """All points of a source, each told at once."""
    points = []
    while (point := source.ask()) is not None:
        points.append(point)
        source.tell(point, value_of(point))
        assert len(points) <= most
    return points


def value_of(point):
    return -((point.values["lr"] - 0.05) ** 2)


def test_a_list_hands_out_its_points_in_order_and_learns_nothing():
    points = [Point({"k": k}, {"k": k}) for k in (3, 1, 2)]
    assert run(listed(points), lambda _: None) == points


def test_optuna_suggests_so_many_points_within_the_axes():
    points = run(OptunaPoints(optuna_study(samples=40)), value_of)
    assert len(points) == 40
    values = [point.values for point in points]
    assert all(0.01 <= each["lr"] <= 0.3 for each in values)
    assert all(0 <= each["mimicry_weight"] <= 2 for each in values)
    assert {each["k"] for each in values} == {1, 2}  # 3 is excluded
    chosen = [each["students"] for each in values]
    assert all(option in chosen for option in SPACE["students"].values)
    assert {point.labels["students"] for point in points} == {"resnet8", "resnet8,resnet14", True}
    assert all(list(point.labels) == list(SPACE) for point in points)


def test_optuna_is_a_function_of_the_seed_and_of_what_it_was_told():
    first, again, other = (
        run(OptunaPoints(optuna_study(samples=14, seed=seed)), value_of) for seed in (0, 0, 1)
    )
    assert first == again
    assert not any(point in other for point in first)


@pytest.mark.parametrize(("mode", "sign"), [("max", 1), ("min", -1)])
def test_optuna_learns_in_the_direction_of_the_mode(mode, sign):
    study = optuna_study(samples=60, space={"lr": Uniform(0.0, 1.0)}, mode=mode)
    points = run(OptunaPoints(study), lambda p: -sign * abs(p.values["lr"] - 0.9))
    late = sorted(point.values["lr"] for point in points[40:])
    assert abs(late[10] - 0.9) < 0.1  # of uniform draws the median would be 0.5


@pytest.mark.parametrize("done", [0, 1, 5, 11, 14])
def test_a_search_that_goes_on_suggests_what_an_undisturbed_one_does(done):
    study = optuna_study(samples=14)
    whole = run(OptunaPoints(study), value_of)
    recorded = [(as_read(point), value_of(point)) for point in whole[:done]]
    assert run(OptunaPoints(study, recorded), value_of) == whole[done:]


def test_points_without_a_value_come_again_first_and_count():
    study = optuna_study(samples=5)
    whole = run(OptunaPoints(study), value_of)
    recorded = [(as_read(point), None if i in (0, 2) else 0.5) for i, point in enumerate(whole[:4])]
    source = OptunaPoints(study, recorded)
    points = run(source, lambda _: 0.5)
    assert points[:2] == [whole[0], whole[2]]
    assert len(points) == 3
    assert points[2] not in whole[:4]


def test_each_new_point_is_noted_before_it_is_handed_out_and_no_other():
    noted = []
    study = optuna_study(samples=3)
    first = run(OptunaPoints(study, note=noted.append), lambda _: None)
    assert noted == first
    noted.clear()
    OptunaPoints(study, [(first[0], None)], note=noted.append).ask()
    assert noted == []


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_failed_point_teaches_nothing_and_is_one_of_the_samples(value):
    source = OptunaPoints(optuna_study(samples=3))
    assert len(run(source, lambda _: value)) == 3


def test_the_same_point_may_be_suggested_twice():
    study = optuna_study(samples=8, space={"k": RandInt(1, 3)})
    source = OptunaPoints(study)
    points = [source.ask() for _ in range(8)]
    for place, point in enumerate(points):
        source.tell(point, place / 8)
    assert source.ask() is None


def test_without_optuna_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError) as caught:
        OptunaPoints(optuna_study())
    message = "search: optuna needs the extra: pip install 'cohort[search]'"
    assert str(caught.value) == message


def as_read(point):
    """A point as it comes back from the study's folder."""
    return Point(**json.loads(json.dumps({"labels": point.labels, "values": point.values})))
