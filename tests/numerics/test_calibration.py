"""Temperatures against hand values, a grid of scikit-learn's losses, and what no temperature changes."""

import doctest
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from torchmetrics.classification import MulticlassCalibrationError

from cohort.metrics import calibration
from cohort.metrics.calibration import HIGHEST, LOWEST, at_temperature, calibrated, fit_temperature
from cohort.metrics.classification import (
    evaluate_posterior,
    expected_calibration_error,
    mean_posterior,
)


def predictions(seed=0, examples=400, classes=5, scale=3.0):
    """Log-posteriors that know something of the labels but are too sure of it."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (examples,), generator=random)
    logits = torch.randn(examples, classes, generator=random)
    logits += 1.2 * torch.nn.functional.one_hot(labels, classes)
    return (scale * logits).log_softmax(1), labels


def test_examples_in_docstrings_run():
    results = doctest.testmod(calibration)
    assert results.attempted >= 4
    assert results.failed == 0


@pytest.mark.parametrize(("sure", "right"), [(0.9, 0.75), (0.6, 0.75), (0.99, 0.5 + 1e-6)])
def test_by_hand(sure, right):
    """Of two classes the best temperature makes the confidence the accuracy: T = logit / logit."""
    right_of_100000 = round(right * 100000)
    labels = (torch.arange(100000) >= right_of_100000).long()
    log_posterior = torch.tensor([[sure, 1 - sure]], dtype=torch.float64).log().expand(100000, 2)
    accuracy = right_of_100000 / 100000
    logit = [math.log(p / (1 - p)) for p in (sure, accuracy)]
    expected = HIGHEST if logit[1] == 0 else min(logit[0] / logit[1], HIGHEST)
    assert fit_temperature(log_posterior, labels) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_no_temperature_of_a_grid_is_better(scale):
    log_posterior, labels = predictions(scale=scale)
    logits = log_posterior.double()

    def loss(temperature):
        posterior = (logits / temperature).softmax(1).numpy()
        return log_loss(labels.numpy(), posterior, labels=range(5))

    found = fit_temperature(log_posterior, labels)
    grid = np.geomspace(0.05, 20, 60)
    assert loss(found) <= min(map(loss, grid))
    assert loss(found) < min(loss(found * 1.01), loss(found / 1.01))


@given(st.integers(0, 2**31), st.floats(0.2, 5))
def test_logits_times_a_number_times_the_temperature(seed, factor):
    log_posterior, labels = predictions(seed, examples=60, scale=1)
    once = fit_temperature(log_posterior.double(), labels)
    again = fit_temperature(factor * log_posterior.double(), labels)
    assert again == pytest.approx(min(max(factor * once, LOWEST), HIGHEST), rel=1e-6)


def test_bounds_where_there_is_no_best():
    sure = torch.tensor([[0.9, 0.1], [0.2, 0.8]]).log()
    assert fit_temperature(sure, torch.tensor([1, 0])) == HIGHEST
    # The wrong one is so nearly right that a temperature below the bound would be best.
    nearly = torch.tensor([[0.0, -1e-3]] * 999 + [[-1e-5, 0.0]])
    assert fit_temperature(nearly, torch.zeros(1000, dtype=torch.long)) == LOWEST
    saturated = torch.tensor([[0.0, -1e5]] * 3)
    assert fit_temperature(saturated, torch.tensor([0, 0, 1])) == HIGHEST
    assert fit_temperature(saturated, torch.tensor([0, 0, 0])) == 1


def test_no_temperature_fits_best_where_no_example_is_wrong():
    """A colder one would fit better for ever: the bound would be an artefact."""
    right = torch.tensor([[0.9, 0.1], [0.2, 0.8]]).log()
    tied = torch.tensor([[0.5, 0.5]]).log()
    ruled_out = torch.tensor([[0.0, -math.inf]])
    for more, label in ((right[:0], []), (tied, [1]), (ruled_out, [1])):
        log_posterior = torch.cat([right, more])
        labels = torch.tensor([0, 1, *label])
        assert math.isnan(fit_temperature(log_posterior, labels))
        measured = calibrated(log_posterior, labels, right, torch.tensor([1, 0]))
        assert list(measured) == ["temperature", "cnll", "cbrier", "cece"]
        assert all(map(math.isnan, measured.values()))
    assert math.isfinite(fit_temperature(torch.cat([right, right]), torch.tensor([0, 1, 0, 0])))


@pytest.mark.parametrize("classes", [2, 3, 7, 100])
def test_1_where_no_temperature_is_better(classes):
    labels = torch.arange(classes)
    assert fit_temperature(torch.full((classes, classes), 1 / classes).log(), labels) == 1
    assert fit_temperature(torch.eye(classes).log(), labels) == 1
    assert fit_temperature(torch.eye(classes).log(), labels.roll(1)) == 1


def test_what_is_ruled_out():
    """-inf for a wrong class is an answer; for the right one it tells no temperatures apart."""
    log_posterior, labels = predictions()
    with_more = torch.cat([log_posterior, torch.full((len(labels), 1), -math.inf)], 1)
    assert fit_temperature(with_more, labels) == fit_temperature(log_posterior, labels)
    ruled_out = torch.tensor([[-math.inf, 0, -math.inf, -math.inf, -math.inf]])
    both, all_labels = torch.cat([log_posterior, ruled_out]), torch.cat([labels, torch.tensor([0])])
    assert fit_temperature(both, all_labels) == fit_temperature(log_posterior, labels)
    assert at_temperature(ruled_out, 3).tolist() == ruled_out.tolist()
    measured = calibrated(both, all_labels, both, all_labels)
    assert measured["cnll"] == math.inf
    assert math.isfinite(measured["cbrier"] + measured["cece"])


@pytest.mark.parametrize("temperature", [0, -1, math.inf, math.nan])
def test_what_is_no_temperature(temperature):
    with pytest.raises(ValueError, match="finite number above 0"):
        at_temperature(torch.zeros(1, 2), temperature)


def test_what_cannot_be_fitted():
    with pytest.raises(ValueError, match="NaN"):
        fit_temperature(torch.tensor([[math.nan, 0.0]]), torch.tensor([0]))
    with pytest.raises(ValueError, match=r"labels \[N\]"):
        fit_temperature(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))


def test_calibrated_is_fitted_on_validation_alone():
    (validation, labels), (test, test_labels) = predictions(0), predictions(1, examples=300)
    measured = calibrated(validation, labels, test, test_labels)
    assert list(measured) == ["temperature", "cnll", "cbrier", "cece"]
    assert measured["temperature"] == fit_temperature(validation, labels)
    other = calibrated(validation, labels, test, test_labels.roll(1))
    assert other["temperature"] == measured["temperature"]
    assert other["cnll"] > measured["cnll"]
    on_test = fit_temperature(test, test_labels)
    assert on_test != measured["temperature"]
    assert calibrated(test, test_labels, test, test_labels)["cnll"] < measured["cnll"]


def test_calibrated_agrees_with_scikit_learn_and_torchmetrics():
    (validation, labels), (test, test_labels) = predictions(0), predictions(1)
    measured = calibrated(validation, labels, test, test_labels)
    posterior = (test.double() / measured["temperature"]).softmax(1)
    theirs = log_loss(test_labels.numpy(), posterior.numpy(), labels=range(5))
    assert measured["cnll"] == pytest.approx(theirs, rel=1e-6)
    one_hot = torch.nn.functional.one_hot(test_labels, 5)
    brier = float((posterior - one_hot).square().sum(1).mean())
    assert measured["cbrier"] == pytest.approx(brier, rel=1e-5)
    ece = MulticlassCalibrationError(num_classes=5, n_bins=15)(posterior.float(), test_labels)
    assert measured["cece"] == pytest.approx(float(ece), abs=1e-6)
    assert measured["cece"] < evaluate_posterior(test, test_labels)["ece"] / 2


def test_a_cold_posterior_fills_the_last_bin_of_the_calibration_error():
    """At T = 0.01 confidences are exactly 1, which torchmetrics would give a bin of its own."""
    test = torch.tensor([[0.9, 0.1], [0.507, 0.493]]).log()  # at T = 0.01 one is 1, one about 0.94
    cold = at_temperature(test, LOWEST).exp()
    confidences = cold.amax(1)
    assert confidences[0] == 1
    assert 14 / 15 < confidences[1] < 1
    expected = abs(1 - float(confidences.sum())) / 2
    assert expected_calibration_error(cold, torch.tensor([1, 0])) == pytest.approx(
        expected, abs=1e-6
    )


def test_an_ensemble_is_tempered_after_averaging():
    members = [predictions(seed)[0] for seed in (1, 1)]
    labels = predictions(1)[1]
    members[1] = members[1] * 0.1
    members[1] = members[1].log_softmax(1)
    mean = mean_posterior(members)
    after = at_temperature(mean, fit_temperature(mean, labels))
    before = mean_posterior([at_temperature(m, fit_temperature(m, labels)) for m in members])
    assert not torch.allclose(after, before, atol=1e-2)
    measured = calibrated(mean, labels, mean, labels)
    assert measured["cnll"] == evaluate_posterior(after, labels)["nll"]
