"""The mutual-learning objective against formulas written out by hand.

The objective computes in float32, so finite differences of it would only show rounding: gradients
are compared with the closed form in float64, and the closed form with torch.autograd.gradcheck.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from cohort.objectives.mutual import MutualLearning, kl_divergence, log_posterior, teachers

TEACHERS = ("peers", "ensemble", "ensemble_logits")


def random_logits(seed, batch, classes, count, scale=2.0):
    """One student's logits and its peers', float32 [B, C], and labels [B]."""
    generator = torch.Generator().manual_seed(seed)
    first, *rest = (
        scale * torch.randn(batch, classes, generator=generator) for _ in range(count + 1)
    )
    return first, rest, torch.randint(classes, (batch,), generator=generator)


def loss_and_gradient(objective, logits, labels, peers_logits):
    z = logits.clone().requires_grad_()
    peers = [objective.posterior(peer) for peer in peers_logits]
    loss, measurements = objective.loss(z, labels, peers)
    loss.backward()
    return loss.item(), z.grad, measurements


def kl(p, q):
    """KL(p ‖ q) of two lists of probabilities."""
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def two_class(p):
    """Logits of the posterior (p, 1 - p)."""
    return [math.log(p), math.log(1 - p)]


OWN, PEER = (0.8, 0.4), (0.5, 0.9)
"""Probability of class 0 for each of two examples."""


def by_hand(temperature=1.0, weight=1.0, teacher="peers", peers=(PEER,)):
    objective = MutualLearning(teacher=teacher, temperature=temperature, weight=weight)
    own = torch.tensor([two_class(p) for p in OWN])
    others = [objective.posterior(torch.tensor([two_class(p) for p in peer])) for peer in peers]
    _, measurements = objective.loss(own, torch.tensor([0, 1]), others)
    return {name: value.item() for name, value in measurements.items()}


def test_two_classes_by_hand():
    measured = by_hand()
    ce = -(math.log(0.8) + math.log(0.6)) / 2
    mimicry = (kl((0.5, 0.5), (0.8, 0.2)) + kl((0.9, 0.1), (0.4, 0.6))) / 2
    assert measured["ce"] == pytest.approx(ce, rel=1e-6)
    assert measured["kl"] == pytest.approx(mimicry, rel=1e-6)
    assert measured["loss"] == pytest.approx(ce + mimicry, rel=1e-6)
    assert measured["accuracy"] == 1.0
    entropies = [-sum(p * math.log(p) for p in (q, 1 - q)) for q in OWN]
    assert measured["entropy"] == pytest.approx(sum(entropies) / 2, rel=1e-6)


def test_the_peer_is_the_target():
    swapped = (kl((0.8, 0.2), (0.5, 0.5)) + kl((0.4, 0.6), (0.9, 0.1))) / 2
    assert abs(by_hand()["kl"] - swapped) > 0.05


def test_summed_over_classes_and_averaged_over_the_batch():
    own, (peer,), _ = random_logits(0, batch=7, classes=5, count=1)
    p, q = F.softmax(peer.double(), 1), F.softmax(own.double(), 1)
    expected = (p * (p / q).log()).sum() / 7
    got = kl_divergence(log_posterior(peer), log_posterior(own))
    assert got.item() == pytest.approx(expected.item(), rel=1e-5)
    assert got.item() != pytest.approx(expected.item() / 5, rel=0.5)  # the mean over elements


def test_two_peers_count_half_each():
    other = (0.3, 0.6)
    both = by_hand(peers=(PEER, other))["kl"]
    assert both == pytest.approx((by_hand()["kl"] + by_hand(peers=(other,))["kl"]) / 2, rel=1e-6)


def test_ensembles_by_hand():
    other = (0.3, 0.6)
    arithmetic = [(a + b) / 2 for a, b in zip(PEER, other, strict=True)]
    assert by_hand(teacher="ensemble", peers=(PEER, other))["kl"] == pytest.approx(
        by_hand(peers=(arithmetic,))["kl"], rel=1e-5
    )
    geometric = [
        math.sqrt(a * b) / (math.sqrt(a * b) + math.sqrt((1 - a) * (1 - b)))
        for a, b in zip(PEER, other, strict=True)
    ]
    assert by_hand(teacher="ensemble_logits", peers=(PEER, other))["kl"] == pytest.approx(
        by_hand(peers=(geometric,))["kl"], rel=1e-5
    )


@pytest.mark.parametrize("temperature", [0.5, 2.0, 4.0])
def test_temperature_softens_both_and_scales_by_its_square(temperature):
    def softened(p):
        a, b = p ** (1 / temperature), (1 - p) ** (1 / temperature)
        return a / (a + b), b / (a + b)

    pairs = [kl(softened(p), softened(q)) for p, q in zip(PEER, OWN, strict=True)]
    expected = temperature**2 * sum(pairs) / 2
    measured = by_hand(temperature=temperature)
    assert measured["kl"] == pytest.approx(expected, rel=1e-5)
    assert measured["ce"] == by_hand()["ce"]  # labels know no temperature
    assert measured["entropy"] == by_hand()["entropy"]


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0])
def test_the_weight_is_on_the_mimicry_only(weight):
    one, measured = by_hand(), by_hand(weight=weight)
    assert measured["loss"] == pytest.approx(one["ce"] + weight * one["kl"], rel=1e-6)
    assert measured["kl"] == one["kl"]


def closed_form_gradient(objective, logits, labels, peers_logits):
    """(softmax(z) − one_hot(y) + w·T·(p_T − teacher_T)) / B in float64."""
    z, T = logits.double(), objective.temperature
    softened = torch.stack([F.softmax(peer.double() / T, 1) for peer in peers_logits])
    if objective.teacher == "ensemble_logits":
        target = F.softmax(torch.stack([p.double() for p in peers_logits]).mean(0) / T, 1)
    else:
        target = softened.mean(0)
    supervised = F.softmax(z, 1) - F.one_hot(labels, z.shape[1])
    return (supervised + objective.weight * T * (F.softmax(z / T, 1) - target)) / len(z)


@settings(max_examples=60, deadline=None)
@given(
    teacher=st.sampled_from(TEACHERS),
    temperature=st.sampled_from([0.5, 1.0, 3.0]),
    weight=st.sampled_from([0.0, 0.5, 1.0, 4.0]),
    seed=st.integers(0, 2**32),
    batch=st.integers(1, 6),
    classes=st.integers(2, 8),
    count=st.integers(1, 6),
)
def test_gradient_is_the_closed_form(teacher, temperature, weight, seed, batch, classes, count):
    objective = MutualLearning(teacher=teacher, temperature=temperature, weight=weight)
    logits, peers, labels = random_logits(seed, batch, classes, count)
    _, gradient, _ = loss_and_gradient(objective, logits, labels, peers)
    expected = closed_form_gradient(objective, logits, labels, peers)
    torch.testing.assert_close(gradient.double(), expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("teacher", TEACHERS)
def test_the_closed_form_is_the_gradient_of_the_formula(teacher):
    """The oracle's oracle: equation 9 or 11 in float64, differentiated numerically."""
    T, weight = 2.0, 0.7
    objective = MutualLearning(teacher=teacher, temperature=T, weight=weight)
    logits, peers, labels = random_logits(1, 3, 4, 3)
    posteriors = [F.log_softmax(peer.double() / T, 1) for peer in peers]

    def formula(z):
        own = F.log_softmax(z / T, 1)
        divergences = [kl_divergence(target, own) for target in teachers(posteriors, teacher)]
        return F.cross_entropy(z, labels) + weight * T**2 * torch.stack(divergences).mean()

    z = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(formula, (z,))
    (gradient,) = torch.autograd.grad(formula(z), z)
    expected = closed_form_gradient(objective, logits, labels, peers)
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    temperature=st.sampled_from([1.0, 2.0]),
    seed=st.integers(0, 2**32),
    batch=st.integers(1, 6),
    classes=st.integers(2, 8),
    count=st.integers(1, 9),
    scale=st.sampled_from([0.1, 1.0, 5.0]),
)
def test_peers_and_ensemble_differ_in_value_not_in_gradient(
    temperature, seed, batch, classes, count, scale
):
    logits, peers, labels = random_logits(seed, batch, classes, count, scale)
    of_peers, of_ensemble = (
        loss_and_gradient(
            MutualLearning(teacher=teacher, temperature=temperature), logits, labels, peers
        )
        for teacher in ("peers", "ensemble")
    )
    torch.testing.assert_close(of_peers[1], of_ensemble[1], rtol=1e-5, atol=2e-6)
    assert of_peers[0] >= of_ensemble[0] - 1e-5 * (1 + abs(of_ensemble[0]))  # Jensen


def test_jensen_is_strict_where_peers_disagree():
    logits, peers, labels = random_logits(3, 4, 5, 3)
    values = [
        loss_and_gradient(MutualLearning(teacher=teacher), logits, labels, peers)[0]
        for teacher in ("peers", "ensemble")
    ]
    assert values[0] > values[1] + 0.1


def test_the_logit_ensemble_is_another_teacher():
    logits, peers, labels = random_logits(3, 4, 5, 3)
    gradients = [
        loss_and_gradient(MutualLearning(teacher=teacher), logits, labels, peers)[1]
        for teacher in ("ensemble", "ensemble_logits")
    ]
    assert (gradients[0] - gradients[1]).abs().max() > 1e-3


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_with_one_peer_all_teachers_agree(temperature):
    logits, peers, labels = random_logits(5, 4, 6, 1)
    first, *rest = (
        loss_and_gradient(
            MutualLearning(teacher=teacher, temperature=temperature), logits, labels, peers
        )
        for teacher in TEACHERS
    )
    for other in rest:
        assert other[0] == pytest.approx(first[0], rel=1e-6)
        torch.testing.assert_close(other[1], first[1], rtol=1e-5, atol=1e-7)


def test_equal_networks_do_not_pull_at_each_other():
    logits, _, labels = random_logits(6, 4, 6, 1)
    for teacher in TEACHERS:
        _, gradient, measurements = loss_and_gradient(
            MutualLearning(teacher=teacher, weight=100.0), logits, labels, [logits, logits]
        )
        assert measurements["kl"].item() == pytest.approx(0, abs=1e-6)
        alone = closed_form_gradient(MutualLearning(weight=0.0), logits, labels, [logits])
        torch.testing.assert_close(gradient.double(), alone, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("teacher", "count"), [("none", 3), ("peers", 0), ("ensemble", 0), ("ensemble_logits", 0)]
)
def test_without_a_teacher_only_the_labels_count(teacher, count):
    logits, peers, labels = random_logits(7, 4, 6, count)
    loss, gradient, measurements = loss_and_gradient(
        MutualLearning(teacher=teacher), logits, labels, peers
    )
    assert measurements["kl"].item() == 0
    z = logits.clone().requires_grad_()
    ce = F.cross_entropy(z, labels)
    ce.backward()
    assert loss == ce.item()
    assert torch.equal(gradient, z.grad)


@pytest.mark.parametrize("teacher", TEACHERS)
def test_peers_get_no_gradient(teacher):
    objective = MutualLearning(teacher=teacher, temperature=2.0)
    logits, peers_logits, labels = random_logits(8, 4, 6, 2)
    sources = [peer.clone().requires_grad_() for peer in peers_logits]
    # Even from someone who hands over posteriors that still hang on their graph.
    peers = [F.log_softmax(source / 2.0, 1) for source in sources]
    z = logits.clone().requires_grad_()
    objective.loss(z, labels, peers)[0].backward()
    assert z.grad.abs().sum() > 0
    assert [source.grad for source in sources] == [None, None]
    assert not objective.posterior(z).requires_grad


def test_measurements_hold_no_graph():
    logits, peers, labels = random_logits(9, 4, 6, 2)
    _, _, measurements = loss_and_gradient(MutualLearning(), logits, labels, peers)
    assert set(measurements) == {"loss", "ce", "kl", "accuracy", "entropy"}
    assert all(m.shape == () and not m.requires_grad for m in measurements.values())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), classes=st.integers(2, 8), count=st.integers(1, 9))
def test_the_sum_of_posteriors_and_the_entropies_are_enough(seed, classes, count):
    """1/(K−1) Σ KL(p_l ‖ q) = CE(mean p_l, q) − mean H(p_l): traffic need not grow with K."""
    logits, peers, labels = random_logits(seed, 4, classes, count)
    _, gradient, measurements = loss_and_gradient(MutualLearning(weight=1.0), logits, labels, peers)
    posteriors = torch.stack([F.softmax(peer, 1) for peer in peers])
    total = posteriors.sum(0)
    entropies = torch.special.entr(posteriors).sum(2).sum(0)
    z = logits.clone().requires_grad_()
    cross = -(total / count * F.log_softmax(z, 1)).sum(1)
    mimicry = (cross - entropies / count).mean()
    (F.cross_entropy(z, labels) + mimicry).backward()
    assert measurements["kl"].item() == pytest.approx(mimicry.item(), rel=1e-4, abs=1e-5)
    torch.testing.assert_close(gradient, z.grad, rtol=1e-5, atol=2e-6)


def test_confident_networks_stay_finite():
    """Probabilities that float32 rounds to 0 still have a logarithm."""
    own = torch.tensor([[200.0, 0.0, -200.0]])
    peer = torch.tensor([[-200.0, 0.0, 200.0]])
    for teacher in TEACHERS:
        loss, gradient, _ = loss_and_gradient(
            MutualLearning(teacher=teacher), own, torch.tensor([0]), [peer, peer]
        )
        assert loss == pytest.approx(400, rel=1e-5)
        assert gradient.isfinite().all()


def test_half_precision_logits_are_taken_in_float32():
    logits, peers, labels = random_logits(11, 4, 6, 2)
    half = logits.bfloat16()
    loss, _ = MutualLearning().loss(half, labels, [log_posterior(p.bfloat16()) for p in peers])
    again, _ = MutualLearning().loss(
        half.float(), labels, [log_posterior(p.bfloat16().float()) for p in peers]
    )
    assert loss.dtype == torch.float32
    assert torch.equal(loss, again)
