"""How alike networks are, and whether they are as right as they are sure: by hand, and by definition."""

import doctest
import itertools

import pytest
import torch

from cohort.metrics import agreement as of_agreement
from cohort.metrics import reliability as of_reliability
from cohort.metrics.agreement import PART, agreement, mean_pairwise_kl
from cohort.metrics.classification import expected_calibration_error
from cohort.metrics.diversity import diversity
from cohort.metrics.reliability import reliability


def log_posteriors(networks, examples=50, classes=4, scale=2.0):
    random = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(networks, examples, classes, generator=random)
    return list(logits.log_softmax(-1))


@pytest.mark.parametrize("module", [of_agreement, of_reliability])
def test_examples_in_docstrings_run(module):
    results = doctest.testmod(module)
    assert results.attempted >= 1
    assert results.failed == 0


def test_equal_networks_agree_and_do_not_diverge():
    one = log_posteriors(1)[0]
    assert agreement([one] * 3) == 1
    assert mean_pairwise_kl([one] * 3) == pytest.approx(0, abs=1e-12)


def test_agreement_is_that_of_every_pair():
    answers = log_posteriors(3)
    classes = [each.argmax(1).tolist() for each in answers]
    same = [
        a == b for x, y in itertools.combinations(classes, 2) for a, b in zip(x, y, strict=True)
    ]
    assert 0 < agreement(answers) < 1
    assert agreement(answers) == pytest.approx(sum(same) / len(same))


def test_divergence_in_parts_is_that_of_all():
    answers = log_posteriors(2, examples=PART + 5)
    assert mean_pairwise_kl(answers) == pytest.approx(diversity(torch.stack(answers)), rel=1e-12)


@pytest.mark.parametrize("answers", [[], log_posteriors(1), [torch.zeros(0, 2)] * 2])
def test_less_than_two_networks_or_no_example(answers):
    for measure in (agreement, mean_pairwise_kl):
        with pytest.raises(ValueError, match="takes two of them"):
            measure(answers)


def test_reliability_by_hand():
    posterior = torch.tensor([[0.7, 0.3], [0.65, 0.35], [0.1, 0.9], [1.0, 0.0]])
    bins = reliability(posterior.log(), torch.tensor([0, 1, 1, 0]), bins=5)
    assert [(b.lower, b.upper) for b in bins][-1] == (0.8, 1.0)
    assert [b.count for b in bins] == [0, 0, 0, 2, 2]
    assert (bins[3].confidence, bins[3].accuracy) == (pytest.approx(0.675), 0.5)
    assert (bins[4].confidence, bins[4].accuracy) == (pytest.approx(0.95), 1.0)
    assert all(value != value for value in (bins[0].confidence, bins[0].accuracy))


@pytest.mark.parametrize("scale", [0.5, 4.0])
def test_the_weighted_gaps_are_the_ece(scale):
    (log_posterior,) = log_posteriors(1, examples=300, scale=scale)
    labels = torch.arange(300) % 4
    gaps = [
        b.count * abs(b.accuracy - b.confidence)
        for b in reliability(log_posterior, labels)
        if b.count
    ]
    ece = expected_calibration_error(log_posterior.exp(), labels)
    assert sum(gaps) / 300 == pytest.approx(ece)
