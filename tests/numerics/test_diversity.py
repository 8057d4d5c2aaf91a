"""Diversity against hand values and SciPy's divergence, and its bins against the whole."""

import doctest
import itertools
import math

import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from cohort.metrics import diversity as module
from cohort.metrics.diversity import diversity, diversity_by_confidence, pairwise_kl


@st.composite
def ensembles(draw):
    members, examples = draw(st.integers(2, 5)), draw(st.integers(1, 30))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.sampled_from([0.1, 1.0, 4.0]))
    logits = scale * torch.randn(members, examples, draw(st.integers(2, 8)), generator=random)
    return logits.log_softmax(-1)


def test_examples_in_docstrings_run():
    results = doctest.testmod(module)
    assert results.attempted >= 1
    assert results.failed == 0


def test_by_hand():
    members = torch.tensor([[[0.5, 0.5], [1.0, 0.0]], [[0.8, 0.2], [0.5, 0.5]]])
    one_way = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)
    other_way = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    first, second = pairwise_kl(members.log()).tolist()
    assert first == pytest.approx((one_way + other_way) / 2, rel=1e-6)
    assert second == math.inf  # the first member rules out what the second holds possible
    both_sure = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]]).log()
    assert pairwise_kl(both_sure).tolist() == [0]
    sure_of_others = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]).log()
    assert pairwise_kl(sure_of_others).tolist() == [math.inf]


@given(ensembles())
def test_agrees_with_scipy(log_posterior):
    posterior = log_posterior.double().exp().numpy()
    pairs = list(itertools.permutations(posterior, 2))
    theirs = sum(scipy.stats.entropy(p, q, axis=1) for p, q in pairs) / len(pairs)
    ours = pairwise_kl(log_posterior)
    assert ours.dtype == torch.float64
    assert ours.tolist() == pytest.approx(theirs.tolist(), rel=1e-4, abs=1e-6)
    assert diversity(log_posterior) == pytest.approx(theirs.mean(), rel=1e-4, abs=1e-6)


@given(ensembles(), st.randoms(use_true_random=False))
def test_the_order_of_members_does_not_matter(log_posterior, random):
    order = random.sample(range(len(log_posterior)), len(log_posterior))
    torch.testing.assert_close(pairwise_kl(log_posterior[order]), pairwise_kl(log_posterior))


@given(ensembles())
def test_members_that_agree_have_none(log_posterior):
    alike = log_posterior[:1].expand(4, -1, -1)
    assert float(pairwise_kl(alike).abs().max()) < 1e-9


@given(ensembles(), st.integers(1, 20))
def test_bins_together_are_the_whole(log_posterior, bins):
    found = diversity_by_confidence(log_posterior, bins)
    assert len(found) == bins
    assert found[0].lower == 0
    assert found[-1].upper == 1
    assert all(a.upper == b.lower for a, b in itertools.pairwise(found))
    examples = sum(b.count for b in found)
    assert examples == log_posterior.shape[1]
    assert all(math.isnan(b.diversity) == (b.count == 0) for b in found)
    weighted = sum(b.count * b.diversity for b in found if b.count) / examples
    assert weighted == pytest.approx(diversity(log_posterior), rel=1e-9, abs=1e-12)


def test_bins_are_of_the_mean_posterior():
    """Members sure of opposite things are together undecided; sure of the same, in the last bin."""
    members = torch.tensor([[[0.9, 0.1], [1.0, 0.0]], [[0.1, 0.9], [1.0, 0.0]]]).log()
    found = diversity_by_confidence(members, bins=3)
    assert [b.count for b in found] == [0, 1, 1]
    assert found[1].diversity == pytest.approx(0.8 * math.log(9), rel=1e-6)
    assert found[2].diversity == 0


@pytest.mark.parametrize("shape", [(1, 3, 2), (3, 2)])
def test_too_few_members_are_refused(shape):
    with pytest.raises(ValueError, match="at least 2 members"):
        pairwise_kl(torch.zeros(shape))


def test_no_examples_and_no_bins_are_refused():
    with pytest.raises(ValueError, match="no examples"):
        diversity(torch.zeros(2, 0, 3))
    with pytest.raises(ValueError, match="bins is 0"):
        diversity_by_confidence(torch.zeros(2, 1, 3), bins=0)
