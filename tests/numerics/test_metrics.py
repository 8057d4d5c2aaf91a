"""Metrics against hand values, scikit-learn and torchmetrics."""

import doctest
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.classification import MulticlassCalibrationError

from cohort.metrics import classification
from cohort.metrics.classification import (
    accuracy,
    brier,
    confidence_bins,
    entropy,
    evaluate_posterior,
    expected_calibration_error,
    mean_posterior,
    negative_log_likelihood,
)

POSTERIOR = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.3, 0.3, 0.4], [0.0, 0.0, 1.0]])
LABELS = torch.tensor([0, 2, 2, 2])


@st.composite
def predictions(draw):
    """Log posteriors of random networks, from undecided to saturated, and labels."""
    examples, classes = draw(st.integers(1, 40)), draw(st.integers(2, 12))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.sampled_from([0.0, 1.0, 10.0, 1000.0]))
    logits = scale * torch.randn(examples, classes, generator=generator)
    return logits.log_softmax(1), torch.randint(classes, (examples,), generator=generator)


def random_predictions(examples=500, classes=10):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(examples, classes, generator=generator)
    return logits.log_softmax(1), torch.randint(classes, (examples,), generator=generator)


def test_examples_in_docstrings_run():
    results = doctest.testmod(classification)
    assert results.attempted >= 8
    assert results.failed == 0


def test_hand_values():
    assert accuracy(POSTERIOR, LABELS) == 0.75
    nll = -(math.log(0.7) + 2 * math.log(0.4)) / 4
    assert negative_log_likelihood(POSTERIOR.log(), LABELS) == pytest.approx(nll, abs=1e-6)
    squares = [0.09 + 0.04 + 0.01, 0.01 + 0.25 + 0.36, 0.09 + 0.09 + 0.36, 0.0]
    assert brier(POSTERIOR, LABELS) == pytest.approx(sum(squares) / 4, abs=1e-6)


def test_calibration_error_by_hand():
    # With two bins 0.4 lies alone in the lower one, where accuracy is 1.
    upper = abs(2 / 3 - (0.7 + 0.5 + 1.0) / 3)
    expected = (1 * (1 - 0.4) + 3 * upper) / 4
    assert expected_calibration_error(POSTERIOR, LABELS, bins=2) == pytest.approx(expected)


def test_entropy_of_certain_and_uniform():
    assert entropy(torch.tensor([[0.0, -math.inf, -math.inf]])).tolist() == [0.0]
    uniform = torch.full((2, 8), -math.log(8))
    torch.testing.assert_close(entropy(uniform), torch.full((2,), math.log(8)))


def test_nll_agrees_with_scikit_learn():
    log_posterior, labels = random_predictions()
    # Normalised again, because scikit-learn warns of float32 rows that it reads as float64.
    posterior = log_posterior.double().softmax(1)
    theirs = log_loss(labels.numpy(), posterior.numpy(), labels=range(10))
    assert negative_log_likelihood(log_posterior, labels) == pytest.approx(theirs, rel=1e-6)


def test_brier_is_the_sum_of_scikit_learns_over_classes():
    log_posterior, labels = random_predictions()
    posterior = log_posterior.exp()
    theirs = sum(
        brier_score_loss((labels == c).numpy(), posterior[:, c].numpy()) for c in range(10)
    )
    assert brier(posterior, labels) == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("bins", [1, 10, 15, 20])
def test_calibration_error_agrees_with_torchmetrics_below_confidence_1(bins):
    log_posterior, labels = random_predictions()
    posterior = log_posterior.exp()
    assert posterior.max() < 1
    theirs = MulticlassCalibrationError(num_classes=10, n_bins=bins)(posterior, labels)
    ours = expected_calibration_error(posterior, labels, bins)
    assert ours == pytest.approx(float(theirs), abs=1e-6)


def test_confidence_of_exactly_1_shares_the_last_bin():
    # One bin holds a wrong 1.0 and a right 0.95: |1 - 1.95| / 2. torchmetrics gives 1.0 a bin of
    # its own (its issue 3510) and adds (1 + 0.05) / 2; if it mends that, this test says so.
    posterior, labels = torch.tensor([[1.0, 0.0], [0.95, 0.05]]), torch.tensor([1, 0])
    assert expected_calibration_error(posterior, labels) == pytest.approx(0.475)
    theirs = MulticlassCalibrationError(num_classes=2, n_bins=15)(posterior, labels)
    assert float(theirs) == pytest.approx(0.525)


def test_a_rounding_error_above_1_is_still_in_the_last_bin():
    posterior = torch.tensor([[1.0000002, 0.0], [0.95, 0.05]])
    error = expected_calibration_error(posterior, torch.tensor([1, 0]))
    assert error == pytest.approx(0.475, abs=1e-6)


@given(st.integers(1, 60), st.floats(0, 1, width=32) | st.fractions(0, 1, max_denominator=60))
def test_a_confidence_is_in_the_bin_that_exact_fractions_give(bins, given):
    """But a float32 nearest to an edge, as 0.2 is to 3 / 15, is at the edge, on whichever side it lies."""
    confidence = np.float32(given)
    place = Fraction(float(confidence)) * bins
    edge = round(place)
    at_edge = confidence == np.float32(edge / bins)
    expected = min(edge if at_edge else math.floor(place), bins - 1)
    assert int(confidence_bins(torch.tensor([confidence]), bins)) == expected


def test_bins_of_15_and_20_begin_where_they_should():
    """torch.linspace puts 0.2, 0.4 and 7 / 15 below their edges, and 0.45 of 20."""
    for bins in (10, 15, 20):
        edges = [k / bins for k in range(bins)]
        assert confidence_bins(torch.tensor(edges), bins).tolist() == list(range(bins))
    right, wrong = torch.tensor([[0.4] + 3 * [0.2], [0.39] + 3 * [0.61 / 3]])
    posterior = torch.stack([right, wrong])  # in the bins from 6 / 15 and 5 / 15
    error = expected_calibration_error(posterior, torch.tensor([0, 1]))
    assert error == pytest.approx((0.6 + 0.39) / 2, abs=1e-6)


def test_calibration_error_is_zero_when_right_as_often_as_sure():
    posterior = torch.tensor([[0.75, 0.25]]).expand(4, 2)
    assert expected_calibration_error(posterior, torch.tensor([0, 0, 0, 1])) == 0


@given(predictions())
def test_ranges(prediction):
    log_posterior, labels = prediction
    result = evaluate_posterior(log_posterior, labels)
    assert set(result) == {"accuracy", "nll", "brier", "ece"}
    assert all(type(value) is float for value in result.values())
    assert 0 <= result["accuracy"] <= 1
    assert result["nll"] >= -1e-6
    assert 0 <= result["brier"] <= 2 + 1e-6
    assert 0 <= result["ece"] <= 1 + 1e-6
    uncertainty = entropy(log_posterior)
    assert uncertainty.min() >= -1e-6
    assert uncertainty.max() <= math.log(log_posterior.shape[1]) + 1e-5


@given(predictions())
def test_a_perfect_posterior_costs_nothing(prediction):
    log_posterior, labels = prediction
    perfect = torch.nn.functional.one_hot(labels, log_posterior.shape[1]).float().log()
    assert evaluate_posterior(perfect, labels) == {"accuracy": 1, "nll": 0, "brier": 0, "ece": 0}


@given(predictions(), st.randoms(use_true_random=False))
def test_the_order_of_examples_does_not_matter(prediction, random):
    log_posterior, labels = prediction
    order = random.sample(range(len(labels)), len(labels))
    shuffled = evaluate_posterior(log_posterior[order], labels[order])
    assert shuffled == pytest.approx(evaluate_posterior(log_posterior, labels), rel=1e-5, abs=1e-6)


@given(predictions(), predictions())
def test_mean_posterior_is_the_mean(one, other):
    rows = min(len(one[1]), len(other[1]))
    classes = min(one[0].shape[1], other[0].shape[1])
    members = [m[:rows, :classes].log_softmax(1) for m in (one[0], other[0])]
    direct = (members[0].double().exp() + members[1].double().exp()) / 2
    torch.testing.assert_close(mean_posterior(members).exp().double(), direct, rtol=1e-4, atol=1e-6)


def test_mean_posterior_keeps_what_underflows_and_what_is_ruled_out():
    members = [torch.tensor([[-200.0, -math.inf]]), torch.tensor([[-200.0, -math.inf]])]
    assert mean_posterior(members).tolist() == [[-200.0, -math.inf]]
    with pytest.raises(ValueError, match="no members"):
        mean_posterior([])


@given(predictions(), predictions(), st.floats(0, 1e6), st.floats(1e-6, 1e6))
def test_mean_posterior_with_weights(one, other, first, second):
    rows = min(len(one[1]), len(other[1]))
    classes = min(one[0].shape[1], other[0].shape[1])
    members = [m[:rows, :classes].log_softmax(1) for m in (one[0], other[0])]
    expected = (first * members[0].double().exp() + second * members[1].double().exp()) / (
        first + second
    )
    mean = mean_posterior(members, [first, second])
    assert mean.dtype == torch.float32
    torch.testing.assert_close(mean.exp().double(), expected, rtol=1e-4, atol=1e-6)
    alike = mean_posterior(members, [second, second])
    torch.testing.assert_close(alike, mean_posterior(members), rtol=1e-5, atol=1e-5)


def test_a_member_of_weight_0_does_not_count():
    ruled_out, certain = torch.tensor([[-math.inf, 0.0]]), torch.tensor([[0.0, -math.inf]])
    assert mean_posterior([certain, ruled_out], [1e-300, 0]).tolist() == [[0, -math.inf]]
    assert mean_posterior([certain, ruled_out], [1e308, 1e308]).exp().tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize(
    "weights", [[1], [1, 1, 1], [], [0, 0], [-1, 2], [math.nan, 1], [math.inf, 1]]
)
def test_weights_that_make_no_mean_are_refused(weights):
    with pytest.raises(ValueError, match="must be 2 finite numbers"):
        mean_posterior([POSTERIOR.log()] * 2, weights)


@given(predictions(), predictions())
def test_an_ensemble_is_no_worse_than_its_members_on_average(one, other):
    rows = min(len(one[1]), len(other[1]))
    classes = min(one[0].shape[1], other[0].shape[1])
    members = [m[:rows, :classes].log_softmax(1) for m in (one[0], other[0])]
    labels = one[1][:rows] % classes
    mean = mean_posterior(members)
    for score in (negative_log_likelihood, lambda log, y: brier(log.exp(), y)):
        average = sum(score(member, labels) for member in members) / 2
        assert score(mean, labels) <= average + 1e-4 * max(1.0, average)


@pytest.mark.parametrize(
    ("posterior", "labels"),
    [(torch.ones(3, 2), torch.zeros(2)), (torch.ones(0, 2), torch.zeros(0)), (torch.ones(3),) * 2],
)
def test_labels_that_do_not_fit_are_refused(posterior, labels):
    for metric in (accuracy, negative_log_likelihood, brier, expected_calibration_error):
        with pytest.raises(ValueError, match=r"expected posteriors \[N, C\]"):
            metric(posterior, labels.long())


def test_arguments_are_left_as_they_were():
    posterior = POSTERIOR.clone()
    brier(posterior, LABELS)
    assert torch.equal(posterior, POSTERIOR)
