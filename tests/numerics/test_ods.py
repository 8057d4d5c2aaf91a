"""Ensemble distillation against NumPy in float64, its gradients against derivations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from scipy.stats import entropy

from cohort.objectives.ods import BesideEnsemble, EnsembleDistillation

METHODS = ("one_to_one", "mean", "labels")


def random_outputs(seed, members=3, batch=4, classes=5, teachers=None, shared=False):
    """Leaves that want a gradient, teacher's side too; labels [B]."""
    generator = torch.Generator().manual_seed(seed)

    def leaf(count):
        return (2 * torch.randn(count, batch, classes, generator=generator)).requires_grad_()

    clean, perturbed, teacher = leaf(members), leaf(members), leaf(teachers or members)
    with torch.no_grad():
        teacher.copy_(torch.log_softmax(teacher, dim=2))
    outputs = BesideEnsemble(clean, clean if shared else perturbed, teacher)
    return outputs, torch.randint(classes, (batch,), generator=generator)


def double(tensor):
    return tensor.detach().double().numpy()


def make(method="one_to_one", alpha=0.9, temperature=4.0):
    return EnsembleDistillation(method=method, alpha=alpha, temperature=temperature)


def targets(objective, teacher, members):
    softened = softmax(teacher / objective.temperature, axis=2)
    if objective.method == "mean":
        return np.repeat(softened.mean(axis=0)[None], members, axis=0)
    return softened


def oracle(objective, outputs, labels):
    """Member by member and example by example, as the formula reads: (loss, ce, kl)."""
    clean, perturbed, teacher = map(double, outputs)
    members, batch, _ = clean.shape
    tau = objective.temperature
    ce = np.mean(
        [-log_softmax(clean[j, b])[labels[b]] for j in range(members) for b in range(batch)]
    )
    if objective.method == "labels":
        return ce, ce, 0.0
    target = targets(objective, teacher, members)
    kl = tau**2 * np.mean(
        [
            entropy(target[j, b], softmax(perturbed[j, b] / tau))  # scipy's KL(target ‖ own)
            for j in range(members)
            for b in range(batch)
        ]
    )
    return (1 - objective.alpha) * ce + objective.alpha * kl, ce, kl


@settings(max_examples=60, deadline=None)
@given(
    method=st.sampled_from(METHODS),
    seed=st.integers(0, 1000),
    members=st.integers(1, 4),
    batch=st.integers(1, 5),
    classes=st.integers(2, 7),
    alpha=st.floats(0, 1),
    temperature=st.floats(0.5, 8),
)
def test_the_loss_is_the_formula(method, seed, members, batch, classes, alpha, temperature):
    outputs, labels = random_outputs(seed, members, batch, classes)
    objective = make(method, alpha, temperature)
    loss, measurements = objective.loss(outputs, labels)
    expected = oracle(objective, outputs, labels)
    got = [measurements[name].item() for name in ("loss", "ce", "kl")]
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6)
    assert loss.item() == got[0]
    assert not any(value.requires_grad for value in measurements.values())


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_the_derived_ones_and_the_teachers_get_none(method):
    outputs, labels = random_outputs(1)
    objective = make(method, alpha=0.7, temperature=3.0)
    objective.loss(outputs, labels)[0].backward()
    clean, perturbed, teacher = map(double, outputs)
    members, batch, classes = clean.shape
    # d CE/dz = (p − y)/MB; d τ²KL(t ‖ p)/dz = τ(p_τ − t_τ)/MB.
    label_share = 1.0 if method == "labels" else 1 - objective.alpha
    on_clean = label_share * (softmax(clean, axis=2) - np.eye(classes)[labels]) / (members * batch)
    np.testing.assert_allclose(outputs.clean_MBC.grad, on_clean, rtol=1e-4, atol=1e-7)
    assert outputs.teacher_MBC.grad is None
    if method == "labels":
        assert outputs.perturbed_MBC.grad is None
        return
    apart = softmax(perturbed / 3, axis=2) - targets(objective, teacher, members)
    on_perturbed = objective.alpha * 3 * apart / (members * batch)
    np.testing.assert_allclose(outputs.perturbed_MBC.grad, on_perturbed, rtol=1e-4, atol=1e-7)


def test_two_classes_by_hand():
    # One member, one example, z = (ln 9, 0) so p = (.9, .1), teacher (.5, .5), label 0, τ = 1:
    # CE = −ln .9, KL = .5 ln(.5/.9) + .5 ln(.5/.1) = ½ ln(25/9).
    logits = torch.tensor([[[math.log(9), 0.0]]])
    outputs = BesideEnsemble(logits, logits, torch.full((1, 1, 2), math.log(0.5)))
    loss, measurements = make(alpha=0.25, temperature=1.0).loss(outputs, torch.tensor([0]))
    ce, kl = -math.log(0.9), 0.5 * math.log(25 / 9)
    assert measurements["ce"].item() == pytest.approx(ce, rel=1e-5)
    assert measurements["kl"].item() == pytest.approx(kl, rel=1e-5)
    assert loss.item() == pytest.approx(0.75 * ce + 0.25 * kl, rel=1e-5)
    assert {"diversity", "teacher_diversity"}.isdisjoint(measurements)  # one member is not diverse


def test_softening_a_log_posterior_is_softening_its_logits():
    outputs, labels = random_outputs(2)
    moved = outputs._replace(teacher_MBC=outputs.teacher_MBC.detach() + 3.0)  # logits again
    objective = make()
    torch.testing.assert_close(objective.loss(outputs, labels)[0], objective.loss(moved, labels)[0])


def test_member_j_learns_from_teacher_j():
    outputs, labels = random_outputs(3)
    own = make(alpha=1.0).loss(outputs._replace(teacher_MBC=outputs.perturbed_MBC), labels)[0]
    assert own.item() == pytest.approx(0, abs=1e-5)
    swapped = outputs.perturbed_MBC.flip(0)
    assert make(alpha=1.0).loss(outputs._replace(teacher_MBC=swapped), labels)[0] > 0.5


def test_mean_takes_any_number_of_teachers_and_one_to_one_only_equally_many():
    outputs, labels = random_outputs(4, members=2, teachers=5)
    objective = make("mean")
    expected = oracle(objective, outputs, labels)[0]
    assert objective.loss(outputs, labels)[0].item() == pytest.approx(expected, rel=1e-5)
    with pytest.raises(AssertionError, match="5 teachers for 2 members"):
        make("one_to_one").loss(outputs, labels)
    with pytest.raises(AssertionError, match="mean without teachers"):
        objective.loss(outputs._replace(teacher_MBC=None), labels)


def test_unperturbed_outputs_get_both_terms_on_one_tensor():
    outputs, labels = random_outputs(5, shared=True)
    make().loss(outputs, labels)[0].backward()
    apart = BesideEnsemble(*(tensor.detach().clone().requires_grad_() for tensor in outputs))
    make().loss(apart, labels)[0].backward()
    both = apart.clean_MBC.grad + apart.perturbed_MBC.grad
    torch.testing.assert_close(outputs.clean_MBC.grad, both)


def test_the_posterior_is_the_members_mean_on_the_clean_images():
    outputs, labels = random_outputs(6)
    mean = softmax(double(outputs.clean_MBC), axis=2).mean(axis=0)
    posterior = make().posterior(outputs)
    np.testing.assert_allclose(posterior.exp(), mean, rtol=1e-5)
    assert not posterior.requires_grad
    assert posterior.dtype == torch.float32
    measurements = make().loss(outputs, labels)[1]
    right = (mean.argmax(axis=1) == labels.numpy()).mean()
    assert measurements["accuracy"].item() == pytest.approx(right)
    assert measurements["entropy"].item() == pytest.approx(entropy(mean, axis=1).mean(), rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), members=st.integers(2, 5), classes=st.integers(2, 7))
def test_diversities_are_mean_divergences_of_ordered_pairs(seed, members, classes):
    outputs, labels = random_outputs(seed, members, classes=classes, teachers=members + 1)
    measurements = make("mean").loss(outputs, labels)[1]
    sides = {"diversity": outputs.perturbed_MBC, "teacher_diversity": outputs.teacher_MBC}
    for name, side in sides.items():
        p = softmax(double(side), axis=2)
        pairs = [(i, j) for i in range(len(p)) for j in range(len(p)) if i != j]
        expected = np.mean([entropy(p[i], p[j], axis=1) for i, j in pairs])
        assert measurements[name].item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_equal_members_have_no_diversity():
    outputs, labels = random_outputs(3)
    same = outputs.perturbed_MBC[:1].expand_as(outputs.perturbed_MBC)
    measurements = make().loss(outputs._replace(perturbed_MBC=same), labels)[1]
    assert measurements["diversity"].item() == pytest.approx(0, abs=1e-7)
    assert measurements["teacher_diversity"].item() > 0.01


def test_labels_alone_need_no_teacher_and_no_alpha():
    outputs, labels = random_outputs(7)
    outputs = outputs._replace(teacher_MBC=None)
    losses = [make("labels", alpha).loss(outputs, labels) for alpha in (0.0, 0.9)]
    assert losses[0][0] == losses[1][0]
    assert losses[0][1]["kl"] == 0
    assert "teacher_diversity" not in losses[0][1]


def test_half_precision_logits_are_judged_in_float32():
    outputs, labels = random_outputs(8)
    halves = BesideEnsemble(
        outputs.clean_MBC.bfloat16(), outputs.perturbed_MBC.bfloat16(), outputs.teacher_MBC
    )
    rounded = BesideEnsemble(
        halves.clean_MBC.float(), halves.perturbed_MBC.float(), halves.teacher_MBC
    )
    loss = make().loss(halves, labels)[0]
    assert loss.dtype == torch.float32
    assert loss == make().loss(rounded, labels)[0]
