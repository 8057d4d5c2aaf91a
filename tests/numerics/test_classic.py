"""KD, FitNets and attention transfer against NumPy in float64, gradients against derivations."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from torch import nn
from torch.nn import functional as F

from cohort.jobs.self_distill.config import CONSTANTS
from cohort.jobs.self_distill.job import HINTS
from cohort.models.regressor import Regressors
from cohort.objectives.classic import BesideTeacher, ClassicDistillation, same_size

CLASSIC = {
    name: ClassicDistillation(
        alpha=CONSTANTS[name]["alpha"],
        temperature=CONSTANTS[name]["temperature"],
        hint=hint,
        hint_weight=CONSTANTS[name].get("hint_weight", 0.0),
    )
    for name, hint in HINTS.items()
}
"""As a job has them that is given no others."""

SIZES = ((4, 6, 6), (5, 3, 3))
"""(C, H, W) of the maps of a student, and of its teacher where nothing else is said."""


def random_outputs(seed, batch=3, classes=5, sizes=SIZES, teacher_sizes=None):
    """Everything a leaf that wants a gradient, the teacher's side too; and labels [B]."""
    generator = torch.Generator().manual_seed(seed)

    def leaf(*shape):
        return (2 * torch.randn(batch, *shape, generator=generator)).requires_grad_()

    def leaves(shapes):
        return tuple(leaf(*shape) for shape in shapes)

    outputs = BesideTeacher(
        leaf(classes), leaves(sizes), leaf(classes), leaves(teacher_sizes or sizes)
    )
    return outputs, torch.randint(classes, (batch,), generator=generator)


def run(objective, outputs, labels):
    loss, measurements = objective.loss(outputs, labels)
    loss.backward()
    return loss.item(), {name: value.item() for name, value in measurements.items()}


def double(tensor):
    return tensor.detach().double().numpy()


def attention(map_BCHW):
    """Equation 2's Q / ‖Q‖₂ with the mean over channels, example by example."""
    rows = [np.mean(example**2, axis=0).ravel() for example in map_BCHW]
    return np.array([row / np.linalg.norm(row) for row in rows])


def hint_by_numpy(kind, outputs):
    total = 0.0
    for own, teacher in zip(outputs.maps, outputs.teacher_maps, strict=True):
        s, t = double(own), double(teacher)
        if kind == "attention":
            s, t = attention(s), attention(t)
        total += np.mean((s - t) ** 2)
    return total if kind != "none" else 0.0


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["none", "maps", "attention"]),
    alpha=st.floats(0, 1),
    temperature=st.floats(0.5, 5),
    weight=st.floats(0, 100),
    seed=st.integers(0, 2**32),
)
def test_values(kind, alpha, temperature, weight, seed):
    outputs, labels = random_outputs(seed)
    objective = ClassicDistillation(
        alpha=alpha, temperature=temperature, hint=kind, hint_weight=weight
    )
    loss, measured = run(objective, outputs, labels)
    z, t, y = double(outputs.logits_BC), double(outputs.teacher_logits_BC), labels.numpy()
    ce = -log_softmax(z, axis=1)[np.arange(len(y)), y].mean()
    teacher = softmax(t / temperature, axis=1)
    ratio = log_softmax(t / temperature, axis=1) - log_softmax(z / temperature, axis=1)
    kl = temperature**2 * (teacher * ratio).sum(axis=1).mean()
    hint = hint_by_numpy(kind, outputs)
    expected = (1 - alpha) * ce + alpha * kl + weight * hint
    assert loss == pytest.approx(expected, rel=1e-4, abs=1e-5)
    p = softmax(z, axis=1)
    assert measured == pytest.approx(
        {
            "loss": expected,
            "ce": ce,
            "kl": kl,
            "hint": hint,
            "accuracy": (z.argmax(axis=1) == y).mean(),
            "entropy": -(p * np.log(p)).sum(axis=1).mean(),
        },
        rel=1e-4,
        abs=1e-5,
    )


@settings(max_examples=20, deadline=None)
@given(alpha=st.floats(0, 1), temperature=st.floats(0.5, 5), seed=st.integers(0, 2**32))
def test_gradient_of_the_logits(alpha, temperature, seed):
    """((1−α)(p − y) + α·T·(p_T − teacher_T)) / B."""
    outputs, labels = random_outputs(seed)
    objective = ClassicDistillation(
        alpha=alpha, temperature=temperature, hint="none", hint_weight=0.0
    )
    run(objective, outputs, labels)
    z, t = double(outputs.logits_BC), double(outputs.teacher_logits_BC)
    labelled = softmax(z, axis=1) - np.eye(5)[labels.numpy()]
    mimicry = softmax(z / temperature, axis=1) - softmax(t / temperature, axis=1)
    expected = ((1 - alpha) * labelled + alpha * temperature * mimicry) / len(z)
    np.testing.assert_allclose(outputs.logits_BC.grad.numpy(), expected, rtol=1e-3, atol=1e-5)


def test_gradient_of_maps():
    outputs, labels = random_outputs(0)
    run(ClassicDistillation(alpha=0, temperature=4, hint="maps", hint_weight=7), outputs, labels)
    for own, teacher in zip(outputs.maps, outputs.teacher_maps, strict=True):
        expected = 7 * 2 * (double(own) - double(teacher)) / own.numel()
        np.testing.assert_allclose(own.grad.numpy(), expected, rtol=1e-4, atol=1e-7)


def test_gradient_of_attention():
    """With q = mean_c a², â = q/‖q‖ and r = 2(â − t̂)/N: da = (2a/C)·(r − (r·â)â)/‖q‖."""
    outputs, labels = random_outputs(1)
    objective = ClassicDistillation(alpha=0, temperature=4, hint="attention", hint_weight=7)
    run(objective, outputs, labels)
    for own, teacher in zip(outputs.maps, outputs.teacher_maps, strict=True):
        a, target = double(own), attention(double(teacher))
        for b, (example, wanted) in enumerate(zip(a, target, strict=True)):
            q = (example**2).mean(axis=0).ravel()
            norm = np.linalg.norm(q)
            unit = q / norm
            r = 2 * (unit - wanted) / target.size
            dq = ((r - (r @ unit) * unit) / norm).reshape(example.shape[1:])
            expected = 7 * 2 * example / len(example) * dq
            np.testing.assert_allclose(own.grad[b].numpy(), expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("name", CLASSIC)
def test_the_teacher_gets_no_gradient(name):
    outputs, labels = random_outputs(2)
    run(CLASSIC[name], outputs, labels)
    assert outputs.teacher_logits_BC.grad is None
    assert all(map_BCHW.grad is None for map_BCHW in outputs.teacher_maps)
    assert outputs.logits_BC.grad.any()
    taught = [own.grad is not None for own in outputs.maps]
    assert taught == [CLASSIC[name].hint != "none"] * len(SIZES)


def test_the_teacher_is_the_target():
    own, teacher = (torch.tensor([[p, 1 - p]]).log() for p in (0.8, 0.5))
    kl = 0.5 * np.log(0.5 / 0.8) + 0.5 * np.log(0.5 / 0.2)
    swapped = 0.8 * np.log(0.8 / 0.5) + 0.2 * np.log(0.2 / 0.5)
    objective = ClassicDistillation(alpha=0.9, temperature=1.0, hint="none", hint_weight=0.0)
    _, measured = objective.loss(BesideTeacher(own, (), teacher, ()), torch.tensor([0]))
    assert measured["kl"].item() == pytest.approx(kl, rel=1e-5)
    assert abs(kl - swapped) > 0.02


def test_temperature_squared_keeps_the_gradients_size():
    norms = []
    for temperature in (20.0, 40.0):
        outputs, labels = random_outputs(3)
        only = ClassicDistillation(alpha=1, temperature=temperature, hint="none", hint_weight=0)
        run(only, outputs, labels)
        norms.append(outputs.logits_BC.grad.norm().item())
    assert norms[1] == pytest.approx(norms[0], rel=0.05)


def test_the_constants_of_re_implementations():
    keys = ("alpha", "temperature", "hint", "hint_weight")
    assert {name: tuple(getattr(each, key) for key in keys) for name, each in CLASSIC.items()} == {
        "kd": (0.9, 4.0, "none", 0.0),
        "fitnet": (0.0, 4.0, "maps", 100.0),
        "at": (0.0, 4.0, "attention", 1000.0),
    }


@pytest.mark.parametrize("kind", ["maps", "attention"])
@pytest.mark.parametrize("larger", ["student", "teacher"])
def test_the_larger_map_is_pooled(kind, larger):
    big, small = (4, 6, 6), (4, 3, 3)
    sizes, teacher_sizes = ((big,), (small,)) if larger == "student" else ((small,), (big,))
    outputs, labels = random_outputs(4, sizes=sizes, teacher_sizes=teacher_sizes)

    def pooled(map_BCHW):
        B, C, H, _ = map_BCHW.shape
        blocks = map_BCHW.detach().reshape(B, C, 3, H // 3, 3, H // 3)
        return blocks.mean(dim=(3, 5))

    by_hand = outputs._replace(
        maps=(pooled(outputs.maps[0]),), teacher_maps=(pooled(outputs.teacher_maps[0]),)
    )
    objective = ClassicDistillation(alpha=0.0, temperature=1.0, hint=kind, hint_weight=1.0)
    _, measured = run(objective, outputs, labels)
    assert measured["hint"] == pytest.approx(hint_by_numpy(kind, by_hand), rel=1e-5)


def test_maps_of_one_size_are_not_touched():
    one, other = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 4)
    for got, given_ in zip(same_size(one, other), (one, other), strict=True):
        assert torch.equal(got, given_)
    assert same_size(one, torch.randn(2, 3, 2, 9))[0].shape == (2, 3, 2, 4)


def test_attention_does_not_see_scale_or_channels():
    outputs, labels = random_outputs(5, sizes=((4, 3, 3),), teacher_sizes=((4, 3, 3),))
    copied = (3 * outputs.maps[0].detach()).repeat(1, 2, 1, 1)
    _, measured = run(CLASSIC["at"], outputs._replace(teacher_maps=(copied,)), labels)
    assert measured["hint"] == pytest.approx(0, abs=1e-12)


def test_half_precision_outputs_are_taken_in_float32():
    outputs, labels = random_outputs(6)
    half = BesideTeacher(
        outputs.logits_BC.bfloat16(),
        tuple(m.bfloat16() for m in outputs.maps),
        outputs.teacher_logits_BC.bfloat16(),
        tuple(m.bfloat16() for m in outputs.teacher_maps),
    )
    full = BesideTeacher(
        half.logits_BC.float(),
        tuple(m.float() for m in half.maps),
        half.teacher_logits_BC.float(),
        tuple(m.float() for m in half.teacher_maps),
    )
    for objective in CLASSIC.values():
        loss, measured = objective.loss(half, labels)
        assert loss.dtype == torch.float32
        assert torch.equal(loss, objective.loss(full, labels)[0])
        assert all(m.shape == () and not m.requires_grad for m in measured.values())
        assert measured["hint"].dtype == torch.float32


def test_posterior_is_the_students():
    outputs, _ = random_outputs(7)
    posterior = CLASSIC["kd"].posterior(outputs)
    assert torch.equal(posterior, F.log_softmax(outputs.logits_BC.detach(), 1))
    assert not posterior.requires_grad


# The regressor


def test_regressors_give_each_map_its_teachers_channels():
    regressors = Regressors(SIZES, ((8, 6, 6), (3, 2, 2)))
    maps = tuple(torch.randn(2, *size) for size in SIZES)
    regressed = regressors(maps)
    assert [tuple(map_BCHW.shape) for map_BCHW in regressed] == [(2, 8, 6, 6), (2, 3, 3, 3)]
    assert all((map_BCHW >= 0).all() for map_BCHW in regressed)
    kernels = [m.kernel_size for m in regressors.modules() if isinstance(m, nn.Conv2d)]
    assert kernels == [(1, 1)] * 2


def test_regressors_learn_to_show_the_teachers_map():
    torch.manual_seed(0)
    own, mix = torch.randn(16, 6, 4, 4), torch.randn(3, 6)
    teacher = torch.einsum("oc,bchw->bohw", mix, own).relu()
    regressors = Regressors([(6, 4, 4)], [(3, 4, 4)])
    optimizer = torch.optim.Adam(regressors.parameters(), lr=0.05)
    logits, labels = torch.zeros(16, 2), torch.zeros(16, dtype=torch.int64)
    seen = []
    for _ in range(60):
        outputs = BesideTeacher(logits, regressors([own]), logits, (teacher,))
        loss, measured = CLASSIC["fitnet"].loss(outputs, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(measured["hint"].item())
    assert seen[-1] < 0.1 * seen[0]


def test_regressors_need_a_teacher_map_for_each():
    with pytest.raises(ValueError, match="shorter"):
        Regressors(SIZES, SIZES[:1])
