"""Temperature scaling: one number, fitted on validation data, that says how sure a posterior should be.

Guo et al., "On calibration of modern neural networks", ICML 2017. Of an ensemble the *mean*
posterior is tempered, with one temperature, as in Nam et al., NeurIPS 2021 (arXiv 2110.14149):
members that were tempered one by one before averaging would be another ensemble.

Shapes: N examples, C classes. Log-posteriors may be -inf; labels are int64 in [0, C).
"""

import math

import torch
from torch import Tensor

from cohort.metrics.classification import check_labels, evaluate_posterior

LOWEST, HIGHEST = 0.01, 100.0
"""Bounds of a fitted temperature."""


def fit_temperature(log_posterior_NC: Tensor, labels_N: Tensor) -> float:
    r"""The temperature T in [0.01, 100] at which the labels are most likely, or NaN.

    .. math:: \arg\min_T -\frac{1}{N} \sum_n \log \mathrm{softmax}(\log p_n / T)_{y_n}

    The sum is convex in 1/T, so its slope has one root at most, searched over log T in float64.
    It is a bound where the root lies beyond it. It is 1 if no temperature is better than another, as
    for uniform or for one-hot posteriors, and NaN if no example is wrong: the colder the better then,
    without end, which says nothing of how sure to be of an example that may be wrong. An example whose
    right class was ruled out costs infinity at every temperature and has no say.

    Args:
        log_posterior_NC: logarithms of posteriors, or logits, on validation data.
        labels_N: the right classes.

    Raises:
        ValueError: if there is no example, or not one label for each, or a log-posterior is NaN.

    Example:
        >>> sure = torch.tensor([[0.9, 0.1]]).log().expand(4, 2)
        >>> temperature = fit_temperature(sure, torch.tensor([0, 0, 0, 1]))
        >>> [round(float(p), 4) for p in at_temperature(sure, temperature)[0].exp()]
        [0.75, 0.25]
    """
    from scipy.optimize import brentq  # here: slow to import, and every trial imports this module

    check_labels(log_posterior_NC, labels_N)
    if log_posterior_NC.isnan().any():
        raise ValueError("a temperature cannot be fitted to log-posteriors that are NaN")
    log_posterior_NC = log_posterior_NC.double()
    of_label_N1 = log_posterior_NC.gather(1, labels_N[:, None])
    # Relative to the right class, so that classes as probable as it add exactly 0 to the slope.
    margin_NC = (log_posterior_NC - of_label_N1)[of_label_N1[:, 0] > -math.inf]
    if not len(margin_NC) or _slope(0.0, margin_NC) == 0:
        return 1.0
    if not (margin_NC > 0).any():
        return math.nan
    lowest, highest = math.log(LOWEST), math.log(HIGHEST)
    if _slope(lowest, margin_NC) <= 0:
        return LOWEST
    if _slope(highest, margin_NC) >= 0:
        return HIGHEST
    return math.exp(brentq(_slope, lowest, highest, args=(margin_NC,), xtol=1e-10))


def at_temperature(log_posterior: Tensor, temperature: float) -> Tensor:
    r"""Logarithm of the posterior at another temperature, over the last dimension.

    .. math:: \log \mathrm{softmax}(\log p / T)

    What was ruled out (-inf) stays so.

    Args:
        log_posterior: logarithms of posteriors, or logits, [..., C].
        temperature: T; the greater, the less sure.

    Raises:
        ValueError: if T is not a finite number greater than 0.

    Example:
        >>> at_temperature(torch.tensor([0.8, 0.2]).log(), 0.5).exp()
        tensor([0.9412, 0.0588])
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature is {temperature}; it must be a finite number above 0")
    return (log_posterior / temperature).log_softmax(-1)


def calibrated(
    validation_log_posterior: Tensor,
    validation_labels: Tensor,
    test_log_posterior: Tensor,
    test_labels: Tensor,
) -> dict[str, float]:
    """Temperature fitted on validation data; cnll, cbrier and cece: nll, brier, ece on test data with it.

    Accuracy is left out, since no temperature changes it. All are NaN where no temperature fits best,
    for no validation example is wrong.

    Args:
        validation_log_posterior: logarithms of posteriors, [N, C].
        validation_labels: the right classes, [N].
        test_log_posterior: logarithms of posteriors, of other examples.
        test_labels: the right classes of those; the temperature does not depend on them.

    Raises:
        ValueError: if there is no example, or not one label for each, or a log-posterior is NaN.
    """
    temperature = fit_temperature(validation_log_posterior, validation_labels)
    scores = ("nll", "brier", "ece")
    if math.isnan(temperature):
        return dict.fromkeys(("temperature", *(f"c{name}" for name in scores)), math.nan)
    measured = evaluate_posterior(at_temperature(test_log_posterior, temperature), test_labels)
    return {"temperature": temperature, **{f"c{name}": measured[name] for name in scores}}


def _slope(log_temperature: float, margin_NC: Tensor) -> float:
    """Derivative of the negative log-likelihood by 1/T, which rises with 1/T."""
    posterior_NC = (margin_NC * math.exp(-log_temperature)).softmax(1)
    expected_NC = torch.where(posterior_NC > 0, posterior_NC * margin_NC, 0)  # 0 times -inf is NaN
    return float(expected_NC.sum(1).mean())
