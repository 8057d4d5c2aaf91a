"""Self-distillation against NumPy in float64 and gradients derived by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from torch.nn import functional as F

from cohort.models.multi_exit import ExitOutputs
from cohort.objectives.mutual import MutualLearning
from cohort.objectives.self_distillation import (
    DEEP_SUPERVISION,
    MutualSelfDistillation,
    SelfDistillation,
)

SCALARS = {"loss", "ce", "kl", "hint", "accuracy", "entropy"}
VECTORS = {"exits/ce", "exits/kl", "exits/hint", "exits/accuracy"}


def random_outputs(seed, exits=3, batch=4, classes=5, features=6):
    """Outputs whose tensors are leaves that want a gradient, and labels [B]."""
    generator = torch.Generator().manual_seed(seed)

    def leaves(width):
        drawn = (2 * torch.randn(batch, width, generator=generator) for _ in range(exits))
        return tuple(each.requires_grad_() for each in drawn)

    labels = torch.randint(classes, (batch,), generator=generator)
    return ExitOutputs(leaves(classes), leaves(features)), labels


def numpy_of(outputs):
    return [[t.detach().double().numpy() for t in part] for part in outputs]


def by_numpy(objective, outputs, labels):
    """Per exit: cross-entropy, T²·KL(deepest ‖ exit), squared distance of features."""
    logits, features = numpy_of(outputs)
    y, T, rows = labels.numpy(), objective.temperature, []
    teacher = softmax(logits[-1] / T, axis=1)
    for z, f in zip(logits, features, strict=True):
        ce = -log_softmax(z, axis=1)[np.arange(len(y)), y].mean()
        log_ratio = np.log(teacher) - log_softmax(z / T, axis=1)
        kl = T**2 * (teacher * log_ratio).sum(axis=1).mean()
        squared = (np.linalg.norm(f - features[-1], axis=1) ** 2).mean()
        rows.append((ce, kl, squared / parts_of(objective, f)))
    return np.array(rows).T


def parts_of(objective, features):
    """What the squared distance is divided by: the features of an example where it is a mean."""
    return features.shape[1] if objective.hint_distance == "mean" else 1


def gradients_by_hand(objective, outputs, labels):
    """d loss / d logits and d features of every exit, derived on paper."""
    logits, features = numpy_of(outputs)
    B, C = logits[0].shape
    a, T, target = objective.alpha, objective.temperature, np.eye(C)[labels.numpy()]
    teacher = softmax(logits[-1] / T, axis=1)
    of_logits = [
        ((1 - a) * (softmax(z, axis=1) - target) + a * T * (softmax(z / T, axis=1) - teacher)) / B
        for z in logits[:-1]
    ]
    of_logits.append((softmax(logits[-1], axis=1) - target) / B)
    weight = 2 * objective.hint_weight / (B * parts_of(objective, features[-1]))
    of_features = [weight * (f - features[-1]) for f in features]
    return of_logits, of_features


def backward(objective, outputs, labels, peers=()):
    loss, measurements = objective.loss(outputs, labels, peers)
    loss.backward()
    return loss.item(), measurements


OBJECTIVES = st.builds(
    SelfDistillation,
    alpha=st.floats(0, 1),
    hint_weight=st.floats(0, 2),
    hint_distance=st.sampled_from(["sum", "mean"]),
    temperature=st.floats(0.5, 5),
)


@settings(max_examples=40, deadline=None)
@given(objective=OBJECTIVES, seed=st.integers(0, 2**32), exits=st.integers(1, 4))
def test_values_and_gradients(objective, seed, exits):
    outputs, labels = random_outputs(seed, exits)
    loss, measured = backward(objective, outputs, labels)
    ce, kl, hint = by_numpy(objective, outputs, labels)
    a = objective.alpha
    shallow = (1 - a) * ce[:-1] + a * kl[:-1] + objective.hint_weight * hint[:-1]
    assert loss == pytest.approx(shallow.sum() + ce[-1], rel=1e-4, abs=1e-5)
    for name, expected in (("ce", ce), ("kl", kl), ("hint", hint)):
        got = measured[f"exits/{name}"].numpy()
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    of_logits, of_features = gradients_by_hand(objective, outputs, labels)
    for z, expected in zip(outputs.logits, of_logits, strict=True):
        np.testing.assert_allclose(z.grad.numpy(), expected, rtol=1e-3, atol=1e-5)
    for f, expected in zip(outputs.features[:-1], of_features, strict=False):
        np.testing.assert_allclose(f.grad.numpy(), expected, rtol=1e-3, atol=1e-6)
    assert outputs.features[-1].grad is None


def test_two_exits_by_hand():
    """q_1 = (0.8, 0.2), q_2 = (0.5, 0.5), features 3 and 1 apart, and nothing else."""
    log = np.log
    outputs = ExitOutputs(
        (torch.tensor([[log(0.8), log(0.2)]]), torch.tensor([[log(0.5), log(0.5)]])),
        (torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 1.0]])),
    )
    objective = SelfDistillation(alpha=0.3, hint_weight=0.03, temperature=1.0)
    loss, measured = objective.loss(outputs, torch.tensor([1]))
    kl = 0.5 * log(0.5 / 0.8) + 0.5 * log(0.5 / 0.2)
    swapped = 0.8 * log(0.8 / 0.5) + 0.2 * log(0.2 / 0.5)
    assert abs(kl - swapped) > 0.02
    assert measured["kl"].item() == pytest.approx(kl, rel=1e-5)
    assert measured["hint"].item() == pytest.approx(3**2 + 1**2)
    expected = -0.7 * log(0.2) + 0.3 * kl + 0.03 * 10 - log(0.5)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_defaults_are_the_projects():
    assert SelfDistillation() == SelfDistillation(
        alpha=0.3, hint_weight=0.03, hint_distance="sum", temperature=3.0
    )


def test_measurements():
    outputs, labels = random_outputs(1, exits=4, batch=6)
    _, measured = backward(SelfDistillation(), outputs, labels)
    assert set(measured) == SCALARS | VECTORS
    assert all(not m.requires_grad and m.dtype == torch.float32 for m in measured.values())
    assert {name: m.shape for name, m in measured.items() if m.ndim} == dict.fromkeys(VECTORS, (4,))
    alone = MutualLearning(teacher="none").loss(outputs.logits[-1], labels)[1]
    for name in ("ce", "accuracy", "entropy"):
        assert torch.equal(measured[name], alone[name])
    for name in ("kl", "hint"):
        vector = measured[f"exits/{name}"]
        assert vector[-1] == 0
        assert measured[name].item() == pytest.approx(vector[:-1].mean().item())
    right = [(z.argmax(1) == labels).double().mean().item() for z in outputs.logits]
    assert measured["exits/accuracy"].tolist() == pytest.approx(right)


@pytest.mark.parametrize("objective", [SelfDistillation(), DEEP_SUPERVISION])
def test_one_exit_is_plain_training(objective):
    outputs, labels = random_outputs(2, exits=1)
    loss, measured = backward(objective, outputs, labels)
    z = outputs.logits[0].detach().clone().requires_grad_()
    ce = F.cross_entropy(z, labels)
    ce.backward()
    assert loss == ce.item()
    assert torch.equal(outputs.logits[0].grad, z.grad)
    assert measured["kl"] == measured["hint"] == 0


def test_deep_supervision_is_labels_only():
    outputs, labels = random_outputs(3)
    loss, measured = backward(DEEP_SUPERVISION, outputs, labels)
    expected = sum(F.cross_entropy(z, labels).item() for z in outputs.logits)
    assert loss == pytest.approx(expected, rel=1e-6)
    assert measured["exits/kl"][0] > 0  # still seen, though it does not count
    assert all(f.grad is None or not f.grad.any() for f in outputs.features)


def test_the_deepest_exit_learns_from_the_labels_alone():
    outputs, labels = random_outputs(4)
    backward(SelfDistillation(alpha=1.0, hint_weight=9.0), outputs, labels)
    z = outputs.logits[-1].detach().clone().requires_grad_()
    F.cross_entropy(z, labels).backward()
    assert torch.equal(outputs.logits[-1].grad, z.grad)
    assert outputs.features[-1].grad is None


def test_temperature_squared_keeps_the_gradients_size():
    """At high T the gradient tends to (z − z_C)/C of centred logits; without T² it would vanish."""
    norms = []
    for temperature in (20.0, 40.0):
        outputs, labels = random_outputs(5)
        only_kl = SelfDistillation(alpha=1.0, hint_weight=0.0, temperature=temperature)
        backward(only_kl, outputs, labels)
        norms.append(outputs.logits[0].grad.norm().item())
    assert norms[1] == pytest.approx(norms[0], rel=0.05)


def test_posterior_is_the_deepest_exits():
    outputs, _ = random_outputs(6)
    posterior = SelfDistillation(temperature=3.0).posterior(outputs)
    assert not posterior.requires_grad
    assert torch.equal(posterior, F.log_softmax(outputs.logits[-1].detach(), 1))


def test_half_precision_outputs_are_taken_in_float32():
    outputs, labels = random_outputs(7)
    half = ExitOutputs(*(tuple(t.detach().bfloat16() for t in part) for part in outputs))
    full = ExitOutputs(*(tuple(t.float() for t in part) for part in half))
    for objective in (SelfDistillation(), mutual_students()):
        expected, measured = objective.loss(full, labels)
        with torch.autocast("cpu", torch.bfloat16):
            loss, again = objective.loss(half, labels)
        assert loss.dtype == torch.float32
        assert torch.equal(loss, expected)
        assert all(torch.equal(again[name], measured[name]) for name in measured)


# Students that teach each other and themselves


EXITS = {"alpha": 0.4, "hint_weight": 0.1, "temperature": 2.0}


def mutual_students(**options):
    return MutualSelfDistillation(mutual=MutualLearning(**options), **EXITS)


def test_the_deepest_exit_learns_from_peers_and_the_shallow_ones_from_it():
    objective = mutual_students(temperature=1.5, weight=0.7)
    outputs, labels = random_outputs(8)
    others = [random_outputs(seed)[0] for seed in (9, 10)]
    peers = [objective.posterior(other) for other in others]
    loss, measured = backward(objective, outputs, labels, peers)

    z = outputs.logits[-1].detach().clone().requires_grad_()
    mutual_loss, mutual = objective.mutual.loss(z, labels, peers)
    mutual_loss.backward()
    torch.testing.assert_close(outputs.logits[-1].grad, z.grad)
    assert outputs.features[-1].grad is None

    again, _ = random_outputs(8)
    alone_loss, alone = backward(SelfDistillation(**EXITS), again, labels)
    for one, other in zip(outputs.logits[:-1], again.logits[:-1], strict=True):
        assert torch.equal(one.grad, other.grad)
    extra = 0.7 * mutual["kl"].item()
    assert loss == pytest.approx(alone_loss + extra, rel=1e-6)
    assert extra > 0.1
    assert measured["kl"] == mutual["kl"]
    for name in VECTORS | {"ce", "hint", "accuracy", "entropy"}:
        assert torch.equal(measured[name], alone[name]), name
    assert measured["loss"].item() == pytest.approx(loss)


def test_peers_see_the_deepest_exit_at_the_mutual_temperature():
    outputs, _ = random_outputs(11)
    objective = mutual_students(temperature=4.0)
    posterior = objective.posterior(outputs)
    assert torch.equal(posterior, F.log_softmax(outputs.logits[-1].detach() / 4.0, 1))
    assert not posterior.requires_grad


def test_without_peers_it_is_self_distillation():
    for peers in ((), [torch.zeros(4, 5)]):
        outputs, labels = random_outputs(12)
        objective = mutual_students(teacher="none")
        loss, measured = objective.loss(outputs, labels, peers)
        alone, _ = SelfDistillation(**EXITS).loss(outputs, labels, peers)
        assert torch.equal(loss, alone)
        assert measured["kl"] == 0
