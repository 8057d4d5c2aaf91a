"""Which runs are one group, and what its mean and its band are: known numbers, and the sentences."""

import doctest
import math

import pytest

from cohort.analysis import groups, pooling
from cohort.analysis.groups import grouped
from cohort.analysis.pooling import band, band_note, curves, is_single, pooled
from tests.support.subjects import constant, subject


def rows(values, group="a", **more):
    """Rows of values by (run, student)."""
    return [
        {"group": group, "run": run, "student": student, "value": value, **more}
        for (run, student), value in values.items()
    ]


@pytest.mark.parametrize("module", [groups, pooling])
def test_examples_in_docstrings_run(module):
    results = doctest.testmod(module)
    assert results.attempted >= 1
    assert results.failed == 0


def test_students_of_one_run():
    assert band({"a": [1.0, 2.0, 6.0]}) == (3, 1, 6)
    assert band({"a": [4.0]}) == (4, 4, 4)


def test_seeds_count_however_many_students_each_has():
    mean, low, high = band({"a": [1.0, 3.0], "b": [4.0], "c": [6.0]})
    error = math.sqrt(((2 - 4) ** 2 + 0 + (6 - 4) ** 2) / 2 / 3)
    assert (mean, low, high) == pytest.approx((4, 4 - error, 4 + error))


def test_what_was_not_measured_has_no_say():
    assert band({"a": [math.nan, 2.0, 4.0]}) == (3, 2, 4)
    mean, low, high = band({"a": [math.nan], "b": [5.0]})
    assert (mean, math.isnan(low), math.isnan(high)) == (5, True, True)
    assert all(math.isnan(end) for end in band({"a": [math.nan], "b": []}))


def test_columns_are_pooled_by_others():
    given = [
        *rows({("r", 0): 1.0, ("r", 1): 3.0}, x=1),
        *rows({("r", 0): 5.0, ("r", 1): None}, x=2),
        *rows({("s", 0): 7.0}, group="b", x=1),
    ]
    assert pooled(given, "value", "group", "x") == {
        ("a", 1): (2, 1, 3),
        ("a", 2): (5, 5, 5),
        ("b", 1): (7, 7, 7),
    }
    assert curves(given, "value", "group", "x") == {
        ("a",): {1: (2, 1, 3), 2: (5, 5, 5)},
        ("b",): {1: (7, 7, 7)},
    }


def test_what_bands_are_is_said():
    seeds = rows({("r", 0): 1.0, ("s", 0): 1.0})
    cohorts = rows({(run, student): 1.0 for run in "rst" for student in range(4)}, "b")
    one, run = rows({("r", 0): 1.0}, "c"), rows({("r", "all"): 1.0}, "d")
    assert band_note(seeds) == "Mean ± standard error over 2 runs that differ in seed."
    assert band_note(one) == "Each line is one student, no band."
    assert band_note([*run, *one], "its own") == (
        "d: each line is one run, its own; c: each line is one student, its own."
    )
    assert band_note([*seeds, *cohorts]) == (
        "a: mean ± standard error over 2 runs that differ in seed; b: mean ± standard error over 3 runs "
        "that differ in seed, of each the mean of its 4 students."
    )
    assert [is_single(each) for each in (seeds, cohorts, one, run)] == [False, False, True, True]


def named(name, **settings):
    return subject([constant(0.5, 0.5)], name=name, **settings).run


def test_runs_that_differ_in_seed_alone_are_a_group():
    runs = [
        named("peers-1", seed=1, teacher="peers", run_dir="a", threads=1),
        named("alone-1", seed=1, teacher="none", run_dir="b"),
        named("peers-2", seed=2, teacher="peers", run_dir="c", threads=4),
        named("longer", seed=2, teacher="peers", run_dir="d", epochs=9),
    ]
    found = grouped(runs)
    assert [each.group for each in found] == ["peers", "alone-1", "peers", "longer"]
    assert [each.run for each in found] == runs
    assert found[2].head == {"group": "peers", "run": "peers-2", "seed": 2, "student": "all"}


def test_no_two_groups_have_one_name():
    runs = [named(f"run-{n}", teacher=teacher) for n, teacher in enumerate("aabb")]
    assert [each.group for each in grouped(runs)] == ["run", "run", "run-2+1", "run-2+1"]
    runs = [named("run"), named("run-0", teacher="a"), named("run-1", teacher="a")]
    assert [each.group for each in grouped(runs)] == ["run", "run-0+1", "run-0+1"]


@pytest.mark.parametrize(
    ("names", "group"),
    [
        (["resnet32-seed10", "resnet32-seed11"], "resnet32"),
        (["seed0-peers", "seed1-peers"], "peers"),
        (["teacher=peers,seed=0", "teacher=peers,seed=1"], "teacher=peers"),
        (["k4-0", "k4-1"], "k4"),
        (["0", "1"], "0+1"),
        (["one", "other"], "one+1"),
    ],
)
def test_the_name_of_a_group_has_no_seed(names, group):
    assert groups.group_name(names) == group


def test_unlike_students_are_not_averaged():
    pair = [constant(0.5, 0.5)] * 2
    alike = subject(pair, name="r", networks=["resnet8", "resnet8"])
    assert [(head["group"], head["student"]) for head, _ in alike.students()] == [
        ("r", 0),
        ("r", 1),
    ]
    unlike = subject(pair, name="r", networks=["resnet8+exits=stages.0/stages.1", "resnet8"])
    assert [head["group"] for head, _ in unlike.students()] == ["r: resnet8+exits", "r: resnet8"]
    places = subject(pair, name="r", networks=["resnet8+exits=stages.0", "resnet8+exits=stages.1"])
    assert [head["group"] for head, _ in places.students()] == [
        "r: resnet8+exits=stages.0", "r: resnet8+exits=stages.1"
    ]  # fmt: skip
