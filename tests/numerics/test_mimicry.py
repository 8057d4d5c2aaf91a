"""DKD, DIST, standardised logits and KDCL's teachers against their papers' formulas in float64.

The formulas are written out example by example in NumPy, and gradients are its central differences.
Where the authors published code, its numbers on the logits of ``published`` stand here too.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from cohort.objectives.classic import BesideTeacher, ClassicDistillation
from cohort.objectives.dist import Relations
from cohort.objectives.dkd import Decoupled
from cohort.objectives.kdcl import min_logit, naive
from cohort.objectives.mutual import KL, MutualLearning, kl_divergence, log_posterior
from cohort.objectives.peer_sum import add_up
from cohort.objectives.standardisation import standardised

SEEDS = st.integers(0, 2**31)


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def kl(t, p):
    return float(sum(a * math.log(a / b) for a, b in zip(t, p, strict=True) if a > 0))


def dkd_by_hand(z, teacher, labels, beta, T):
    """Equations 1 to 7, T² times."""
    losses = []
    for own, other, y in zip(z, teacher, labels, strict=True):
        p, t = softmax(own / T), softmax(other / T)
        tckd = kl([t[y], 1 - t[y]], [p[y], 1 - p[y]])
        rest = [c for c in range(len(p)) if c != y]
        nckd = kl(t[rest] / t[rest].sum(), p[rest] / p[rest].sum())
        losses.append(tckd + beta * nckd)
    return T**2 * np.mean(losses)


def dist_by_hand(z, teacher, labels, gamma, T):
    """Equations 6 to 9 by NumPy's own correlation, T² times."""
    p, t = (np.array([softmax(row / T) for row in side]) for side in (z, teacher))
    inter = 1 - np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(p, t, strict=True)])
    intra = 1 - np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(p.T, t.T, strict=True)])
    return T**2 * (inter + gamma * intra)


def standardised_by_hand(z):
    return np.array([(row - row.mean()) / row.std() for row in z])


def standardised_kl_by_hand(z, teacher, labels, beta, T):
    sides = zip(standardised_by_hand(z), standardised_by_hand(teacher), strict=True)
    return T**2 * np.mean([kl(softmax(t / T), softmax(p / T)) for p, t in sides])


WAYS = {
    "dkd": (dkd_by_hand, {"divergence": Decoupled(2.5)}, 2.5),
    "dist": (dist_by_hand, {"divergence": Relations(1.5)}, 1.5),
    "standardise": (standardised_kl_by_hand, {"standardise": True}, None),
}


def random_logits(seed, batch=3, classes=4):
    rng = np.random.default_rng(seed)
    z, teacher = 2 * rng.standard_normal((2, batch, classes))
    return z, teacher, rng.integers(0, classes, batch)


def difference_quotient(function, z, step=1e-6):
    gradient = np.zeros_like(z)
    for at in np.ndindex(*z.shape):
        up, down = z.copy(), z.copy()
        up[at] += step
        down[at] -= step
        gradient[at] = (function(up) - function(down)) / (2 * step)
    return gradient


def tensors(z, teacher, labels):
    own = torch.tensor(z, dtype=torch.float32, requires_grad=True)
    return own, torch.tensor(teacher, dtype=torch.float32), torch.tensor(labels)


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, T=st.sampled_from([1.0, 4.0]))
def test_value_and_gradient_among_peers_and_from_a_teacher(way, seed, T):
    by_hand, options, beta = WAYS[way]
    z, teacher, labels = random_logits(seed)
    expected = by_hand(z, teacher, labels, beta, T)
    slope = difference_quotient(lambda at: by_hand(at, teacher, labels, beta, T), z)

    own, taught, y = tensors(z, teacher, labels)
    mutual = MutualLearning(temperature=T, weight=0.5, **options)
    loss, measured = mutual.loss(own, y, [mutual.posterior(taught)])
    ce = F.cross_entropy(own, y)
    (got,) = torch.autograd.grad(loss - ce, own)
    assert measured["kl"].item() == pytest.approx(expected, rel=2e-3, abs=1e-4)
    assert loss.item() == pytest.approx(ce.item() + 0.5 * expected, rel=2e-3, abs=1e-4)
    np.testing.assert_allclose(got.numpy(), 0.5 * slope, rtol=5e-3, atol=2e-4)

    classic = ClassicDistillation(alpha=0.75, temperature=T, hint="none", hint_weight=0, **options)
    taught.requires_grad_()
    loss, measured = classic.loss(BesideTeacher(own, (), taught, ()), y)
    (again,) = torch.autograd.grad(loss - 0.25 * F.cross_entropy(own, y), own)
    assert measured["kl"].item() == pytest.approx(expected, rel=2e-3, abs=1e-4)
    np.testing.assert_allclose(again.numpy(), 0.75 * slope, rtol=5e-3, atol=3e-4)
    assert taught.grad is None


# What the authors' code gives


def published():
    i = torch.arange(20.0, dtype=torch.float64).view(4, 5)
    z, teacher = 3 * torch.sin(1.7 * i + 0.3), 4 * torch.cos(0.9 * i**1.1)
    return z.float(), teacher.float(), torch.tensor([0, 3, 4, 2])


def of_published(T, **options):
    z, teacher, labels = published()
    objective = MutualLearning(temperature=T, **options)
    return objective.loss(z, labels, [objective.posterior(teacher)])[1]["kl"].item()


@pytest.mark.parametrize(
    ("beta", "T", "value"), [(8, 4, 29.391569794), (0, 4, 1.659163064), (2, 1, 4.223804878)]
)
def test_dkd_is_the_authors(beta, T, value):
    """megvii-research/mdistiller, dkd_loss with α 1, in float64."""
    assert of_published(T, divergence=Decoupled(beta)) == pytest.approx(value, rel=1e-5)


def test_dist_is_the_authors():
    """hunto/DIST_KD, with β 1: inter 1.1112220177, intra 0.7837845798."""
    for gamma in (0, 1, 2):
        value = 1.1112220177 + gamma * 0.7837845798
        assert of_published(1.0, divergence=Relations(gamma)) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize(("T", "value"), [(1.0, 0.570848419), (2.0, 0.636563631)])
def test_standardised_is_the_authors_but_for_their_standard_deviation(T, value):
    """sunshangquan/logit-standardization-KD divides by C − 1, a temperature √(C/(C−1)) times ours."""
    ours = T * math.sqrt(5 / 4)
    got = of_published(ours, standardise=True) * (T / ours) ** 2
    assert got == pytest.approx(value, rel=1e-5)


# What must hold


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_decoupled_parts_make_up_the_whole_divergence(seed):
    """Equation 6: KL = TCKD + (1 − t_y)·NCKD; of one example, for t_y is its own."""
    z, teacher, labels = random_logits(seed, batch=1)
    own, taught, y = tensors(z, teacher, labels)
    sides = log_posterior(taught), log_posterior(own)
    beta = 1 - sides[0].exp()[0, y].item()
    assert Decoupled(beta)(*sides, y).item() == pytest.approx(
        kl_divergence(*sides).item(), rel=1e-4, abs=1e-5
    )


def test_a_teacher_that_is_sure_still_tells_the_other_classes_apart():
    """Its right class has a probability of 1 in float32: the divergence of the rest is not 0/0."""
    teacher = torch.tensor([[200.0, 3.0, 1.0, 0.0]])
    own = torch.tensor([[150.0, 0.0, 0.5, 3.0]], requires_grad=True)
    y = torch.tensor([0])
    value = Decoupled(1.0)(log_posterior(teacher), log_posterior(own), y)
    value.backward()
    expected = kl(softmax(np.array([3.0, 1.0, 0.0])), softmax(np.array([0.0, 0.5, 3.0])))
    assert value.item() == pytest.approx(expected, rel=1e-4)
    assert own.grad[0, 1:].abs().min() > 0.01
    assert KL(log_posterior(teacher), log_posterior(own), y).item() == 0


@given(SEEDS, st.floats(0.25, 4), st.floats(-50, 50))
@settings(max_examples=20, deadline=None)
def test_standardised_logits_have_no_scale_and_no_place(seed, factor, constant):
    z = torch.tensor(random_logits(seed)[0])
    got = standardised(factor * z + constant)
    np.testing.assert_allclose(got.numpy(), standardised_by_hand(z.numpy()), atol=2e-3)
    # A posterior knows its logits up to a constant: what travels is enough.
    torch.testing.assert_close(standardised(log_posterior(z)), standardised(z), atol=1e-4, rtol=0)


def test_equal_logits_are_0_and_have_a_gradient():
    z = torch.zeros(2, 4, requires_grad=True)
    shown = standardised(z)
    assert not shown.any()
    shown[:, 0].sum().backward()
    assert z.grad.isfinite().all()


def test_dist_does_not_ask_for_the_very_same_posterior():
    """0 where two are apart, but in the same relation."""
    target = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]])
    flatter = 0.5 * target + 0.5 / 3
    y = torch.tensor([0, 0])
    assert Relations(1.0)(target.log(), flatter.log(), y).item() == pytest.approx(0, abs=1e-6)
    assert KL(target.log(), flatter.log(), y) > 0.01


# KDCL: one teacher of all students


def kdcl_by_hand(name, everyone, labels):
    """The teacher's logits for each example, of logits [K, B, C]."""
    taught = []
    for b, y in enumerate(labels):
        rows = [student[b] for student in everyone]
        if name == "kdcl_naive":
            taught.append(min(rows, key=lambda row, y=y: -math.log(softmax(row)[y])))
        else:
            taught.append(np.min([row - row[y] for row in rows], axis=0))
    return np.array(taught)


@pytest.mark.parametrize("name", ["kdcl_naive", "kdcl_minlogit"])
@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, T=st.sampled_from([1.0, 3.0]), students=st.integers(2, 4))
def test_kdcl_by_hand(name, seed, T, students):
    rng = np.random.default_rng(seed)
    everyone = 2 * rng.standard_normal((students, 5, 4))
    labels = rng.integers(0, 4, 5)
    target = kdcl_by_hand(name, everyone / T, labels)
    expected = T**2 * np.mean(
        [kl(softmax(t), softmax(z)) for t, z in zip(target, everyone[0] / T, strict=True)]
    )
    objective = MutualLearning(teacher=name, temperature=T)
    own, *peers = (torch.tensor(z, dtype=torch.float32, requires_grad=True) for z in everyone)
    shown = [objective.posterior(peer) for peer in peers]
    loss, measured = objective.loss(own, torch.tensor(labels), shown)
    assert measured["kl"].item() == pytest.approx(expected, rel=1e-3, abs=1e-5)
    loss.backward()
    assert all(peer.grad is None for peer in peers)
    # The teacher is a constant, though the student is a part of it: a step along KL(t ‖ p) alone.
    p, t = (np.array([softmax(row) for row in side]) for side in (everyone[0] / T, target))
    of_ce = np.array([softmax(row) for row in everyone[0]]) - np.eye(4)[labels]
    np.testing.assert_allclose(own.grad.numpy(), (of_ce + T * (p - t)) / 5, atol=1e-4)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_kdcl_teacher_is_no_worse_than_the_best_student(seed):
    """So is MinLogit's by its construction, and the naive one by its choice, in each example."""
    z = torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(seed))
    shown, labels = log_posterior(z.flatten(0, 1)).view_as(z), torch.arange(6) % 5
    ce_KB = -shown.gather(2, labels.expand(3, 6)[..., None])[..., 0]
    for teacher in (naive, min_logit):
        taught = teacher(shown, labels)
        torch.testing.assert_close(taught.exp().sum(1), torch.ones(6))
        ce = F.nll_loss(taught, labels, reduction="none")
        assert (ce <= ce_KB.amin(0) + 1e-6).all()
        torch.testing.assert_close(teacher(shown.flip(0), labels), taught)  # no student is first


def test_kdcl_without_peers_has_no_teacher():
    z, labels = torch.randn(3, 4), torch.tensor([0, 1, 2])
    measured = MutualLearning(teacher="kdcl_minlogit").loss(z, labels)[1]
    assert measured["kl"] == 0


def test_sums_of_peers_are_refused_where_they_are_not_enough():
    objective = MutualLearning()
    shown = [objective.posterior(torch.randn(2, 3)) for _ in range(2)]
    labels = torch.tensor([0, 1])
    for options in ({"divergence": Decoupled()}, {"teacher": "kdcl_naive"}):
        with pytest.raises(AssertionError, match="not enough"):
            MutualLearning(**options).loss(torch.randn(2, 3), labels, [add_up(shown, "peers")])
