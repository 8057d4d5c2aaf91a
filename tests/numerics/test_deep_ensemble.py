"""Ensembles of growing size by the definition, and the equivalents of the published table."""

import doctest
import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cohort.metrics import deep_ensemble
from cohort.metrics.calibration import calibrated
from cohort.metrics.classification import evaluate_posterior
from cohort.metrics.deep_ensemble import (
    cyclic_runs,
    deep_ensemble_equivalent,
    deep_ensemble_rows,
    equivalent_of,
)

PUBLISHED = (0.789, 0.708, 0.673, 0.655)
KEYS = ["accuracy", "nll", "brier", "ece", "temperature", "cnll", "cbrier", "cece"]


def members(seed=0, count=3, examples=80, classes=4):
    """Log-posteriors of overconfident members of unlike worth, and labels."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (examples,), generator=random)
    logits = 2 * torch.randn(count, examples, classes, generator=random)
    worth = torch.arange(1, count + 1)[:, None, None]
    logits += worth * torch.nn.functional.one_hot(labels, classes)
    return (3 * logits).log_softmax(-1), labels


def test_examples_in_docstrings_run():
    results = doctest.testmod(deep_ensemble)
    assert results.attempted >= 3
    assert results.failed == 0


def test_rows_by_the_definition():
    (validation, labels), (test, test_labels) = members(0), members(1)
    rows = deep_ensemble_rows(test, test_labels, (validation, labels))
    assert [list(row) for row in rows] == [["members", *KEYS]] * 3
    assert [row["members"] for row in rows] == [1, 2, 3]
    # Of three members the cyclic runs of two are all pairs.
    for row, size in zip(rows, (1, 2, 3), strict=True):
        measured = []
        for chosen in itertools.combinations(range(3), size):
            mean, test_mean = (m[list(chosen)].exp().mean(0).log() for m in (validation, test))
            tempered = calibrated(mean, labels, test_mean, test_labels)
            measured.append(evaluate_posterior(test_mean, test_labels) | tempered)
        for key in KEYS:
            expected = sum(m[key] for m in measured) / len(measured)
            assert row[key] == pytest.approx(expected, rel=1e-4), (size, key)
    assert rows[2]["nll"] < rows[1]["nll"] < rows[0]["nll"]
    for row in rows:
        assert row["cnll"] < row["nll"]


@given(st.integers(1, 9).flatmap(lambda m: st.tuples(st.just(m), st.integers(1, m))))
def test_every_member_counts_alike(members_and_size):
    count, size = members_and_size
    runs = cyclic_runs(count, size)
    assert len(runs) == (1 if size == count else count)
    assert len({frozenset(run) for run in runs}) == len(runs)
    assert all(len(set(run)) == size for run in runs)
    times = [sum(member in run for run in runs) for member in range(count)]
    assert times == [len(runs) * size / count] * count


def test_the_order_of_test_labels_leaves_temperatures_alone():
    (validation, labels), (test, test_labels) = members(0), members(1)
    rows, other = (
        deep_ensemble_rows(test, some, (validation, labels))
        for some in (test_labels, test_labels.roll(1))
    )
    assert [r["temperature"] for r in rows] == [r["temperature"] for r in other]
    assert rows[0]["cnll"] < other[0]["cnll"]


def test_without_validation_data_nothing_is_calibrated():
    (validation, labels), (test, test_labels) = members(0), members(1)
    rows = deep_ensemble_rows(test, test_labels)
    calibrated_rows = deep_ensemble_rows(test, test_labels, (validation, labels))
    assert [list(row) for row in rows] == [["members", *KEYS[:4]]] * 3
    assert all(
        row.items() <= other.items() for row, other in zip(rows, calibrated_rows, strict=True)
    )


def test_other_members_on_test_data_are_refused():
    (validation, labels), (test, test_labels) = members(0), members(1)
    for wrong in (validation[:2], validation[:0]):
        with pytest.raises(ValueError, match="the same members"):
            deep_ensemble_rows(test, test_labels, (wrong, labels))
    with pytest.raises(ValueError, match="at least 1"):
        deep_ensemble_rows(test[:0], test_labels, (validation[:0], labels))


@pytest.mark.parametrize(
    ("cnll", "published"), [(0.750, 1.48), (0.760, 1.36), (0.682, 2.74), (0.665, 3.44)]
)
def test_equivalents_of_the_published_table(cnll, published):
    assert deep_ensemble_equivalent(cnll, PUBLISHED).dee == pytest.approx(published, abs=0.005)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_an_ensemble_is_worth_its_members(size):
    dee, outside = deep_ensemble_equivalent(PUBLISHED[size - 1], PUBLISHED)
    assert (dee, outside) == (pytest.approx(size), 0)


def test_outside_the_table():
    assert deep_ensemble_equivalent(0.9, PUBLISHED) == (1, -1)
    assert deep_ensemble_equivalent(math.inf, PUBLISHED) == (1, -1)
    assert deep_ensemble_equivalent(0.6, PUBLISHED) == (4, 1)
    assert deep_ensemble_equivalent(0.6, [0.7]) == (1, 1)
    assert deep_ensemble_equivalent(0.8, [0.7]) == (1, -1)
    assert deep_ensemble_equivalent(0.7, [0.7]) == (1, 0)


def test_the_first_crossing_where_more_members_were_worse():
    def worth(cnll, ladder):
        return deep_ensemble_equivalent(cnll, ladder)

    worse_between = [0.8, 0.6, 0.7, 0.5]
    assert worth(0.65, worse_between) == (pytest.approx(1.75), 0)
    assert worth(0.55, worse_between) == (pytest.approx(3.75), 0)
    assert worth(0.75, [0.7, 0.8, 0.6]) == (1, -1)
    assert worth(0.65, [0.7, 0.8, 0.6]) == (pytest.approx(2.75), 0)
    assert worth(0.65, [0.7, 0.7, 0.6]) == (pytest.approx(2.5), 0)
    assert worth(0.55, [0.7, 0.5, 0.6]) == (pytest.approx(1.75), 0)
    assert worth(0.45, [0.7, 0.5, 0.6]) == (3, 1)  # none reaches it, the last least of all


@given(st.lists(st.floats(0, 10), min_size=1, max_size=6), st.floats(0, 10), st.floats(0, 10))
def test_lower_is_never_worth_less(curve, one, other):
    low, high = sorted((one, other))
    worse, better = (deep_ensemble_equivalent(cnll, curve) for cnll in (high, low))
    assert 1 <= worse.dee <= better.dee <= len(curve)
    assert -1 <= worse.dee_outside <= better.dee_outside <= 1
    assert (better.dee_outside == 1) == (low < min(curve) and low <= curve[0])
    assert (worse.dee_outside == -1) == (high > curve[0])


@pytest.mark.parametrize(
    ("cnll", "curve"), [(math.nan, PUBLISHED), (0.7, ()), (0.7, (0.8, math.inf)), (0.7, [math.nan])]
)
def test_what_has_no_equivalent(cnll, curve):
    with pytest.raises(ValueError, match="must not be NaN"):
        deep_ensemble_equivalent(cnll, curve)


def test_no_equivalent_without_temperatures():
    """A row that no temperature fits has no cnll, and infinite ones span no ladder."""
    lines = [{"test_cnll": 0.8}, {"test_cnll": 0.6}]
    assert equivalent_of(0.7, lines) == {"dee": pytest.approx(1.5), "dee_outside": 0}
    assert equivalent_of(math.nan, lines) == equivalent_of(0.7, []) == {}
    for cnll in (math.nan, math.inf):
        assert equivalent_of(0.7, [*lines, {"test_cnll": cnll}]) == {}
    assert equivalent_of(0.7, [{"test_nll": 0.8}]) == {}
