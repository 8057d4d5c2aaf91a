"""ODS directions against derivations and finite differences; what is drawn, and from what."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cohort.models.normalised import Normalised
from cohort.models.registry import build_network
from cohort.objectives.perturbation import InputPerturbation, ods_direction

KINDS = ("gaussian", "ods", "conf_ods")
SHAPE = (3, 8, 8)


def images(batch, shape=SHAPE, seed=0):
    return torch.rand(batch, *shape, generator=torch.Generator().manual_seed(seed))


def teacher(classes=5, shape=SHAPE, seed=0, scale=1.0):
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes))
    with torch.no_grad():
        network[1].weight *= scale
    return Normalised(network, (0.5,) * shape[0], (0.25,) * shape[0]).eval()


def resnet(seed=0):
    torch.manual_seed(seed)
    network = build_network("resnet8", num_classes=10, image_shape=(3, 32, 32))
    return Normalised(network, (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)).eval()


def weights(batch, classes, seed=1):
    return 2 * torch.rand(batch, classes, generator=torch.Generator().manual_seed(seed)) - 1


def lengths(x):
    return x.flatten(1).norm(dim=1)


@pytest.mark.parametrize("scale", [0.5, 2, 8])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_direction_is_the_derived_gradient_of_a_linear_teacher(temperature, scale):
    # T(x) = A((x - .5) / .25) + b, so ∇ₓ Σ w·y = Aᵀu / (.25 τ), u_k = y_k Σ_c y_c (w_k - w_c) for
    # y = softmax(T/τ). The images resemble the rows of A: the likeliest y is .45 to 1 - 10⁻³⁰.
    network, x, w = teacher(scale=scale), images(4), weights(4, 5)
    y = torch.softmax(network(x).detach().double() / temperature, dim=1)
    inner = y * (y[:, None] * (w[:, :, None] - w[:, None])).sum(dim=2)
    gradient = inner @ network.network[1].weight.detach().double() / (0.25 * temperature)
    expected = gradient / gradient.norm(dim=1, keepdim=True)
    epsilon = ods_direction(network, x, w, temperature=temperature, norm="l2")
    torch.testing.assert_close(epsilon.flatten(1).double(), expected, rtol=1e-4, atol=1e-6)


def test_the_direction_of_a_resnet_is_where_finite_differences_rise_most():
    network, x = resnet().double(), images(2, (3, 32, 32))
    w = weights(2, 10)

    def value(x):
        with torch.no_grad():
            return (w * torch.softmax(network(x) / 2, dim=1)).sum(dim=1)

    class Float(nn.Module):
        def forward(self, x):
            return network(x.double())

    epsilon = ods_direction(Float(), x, w, temperature=2, norm="l2").double()
    towards = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3)).double()
    towards /= lengths(towards)[:, None, None, None]
    x, h = x.double(), 1e-5
    along = (value(x + h * epsilon) - value(x - h * epsilon)) / (2 * h)  # = ‖g‖
    across = (value(x + h * towards) - value(x - h * towards)) / (2 * h)  # = g·towards
    cosine = (epsilon * towards).flatten(1).sum(dim=1)
    assert (along > 0).all()
    torch.testing.assert_close(across, along * cosine, rtol=1e-3, atol=1e-7)


def test_no_gradient_is_left_behind_and_none_of_the_callers_modes_matter():
    network, x, w = resnet(), images(2, (3, 32, 32)), weights(2, 10)
    assert all(parameter.requires_grad for parameter in network.parameters())
    with torch.no_grad():
        inside = ods_direction(network, x, w)
        assert not torch.is_grad_enabled()
    x_with_graph = x.clone().requires_grad_()
    outside = ods_direction(network, x_with_graph, w)
    assert torch.equal(inside, outside)
    assert not outside.requires_grad
    assert x_with_graph.grad is None
    assert not x.requires_grad
    assert [
        parameter.grad for parameter in network.parameters() if parameter.grad is not None
    ] == []


@pytest.mark.parametrize("kind", KINDS)
def test_images_with_a_graph_give_perturbed_ones_without(kind):
    x = images(2, (3, 32, 32)).requires_grad_()
    perturbed = InputPerturbation(kind=kind)(x, resnet(), seed=0, step=0)
    assert not perturbed.requires_grad
    assert x.grad is None


def test_a_flat_teacher_gives_zero_and_a_nearly_flat_one_does_not():
    x, w = images(3), weights(3, 5)

    def flat(x):
        return 0 * x.flatten(1)[:, :5]

    assert torch.equal(ods_direction(flat, x, w), torch.zeros_like(x))

    def confident(x):  # softmax of it is about (1, e⁻⁸⁰, …): the gradient's squares underflow
        return x.flatten(1)[:, :5] + torch.tensor([80.0, 0, 0, 0, 0])

    epsilon = ods_direction(confident, x, w, norm="l2")
    torch.testing.assert_close(lengths(epsilon), torch.ones(3))


@pytest.mark.parametrize("kind", ["ods", "gaussian"])
def test_at_the_published_scale_a_step_is_0_217_long(kind):
    # √(3·32·32) / 255; greyish images, so that nothing is clamped.
    x = 0.3 + 0.4 * images(16, (3, 32, 32))
    moved = lengths(InputPerturbation(kind=kind)(x, resnet(), seed=0, step=0) - x)
    expected = math.sqrt(3 * 32 * 32) / 255
    assert expected == pytest.approx(0.217, abs=5e-4)
    tolerance = {"ods": 1e-4, "gaussian": 0.03}[kind]  # noise is so long on the average only
    torch.testing.assert_close(moved, torch.full((16,), expected), rtol=tolerance, atol=0)


def test_l2_steps_are_eta_long():
    x = 0.3 + 0.4 * images(4)
    perturb = InputPerturbation(kind="ods", eta=8.0, norm="l2")
    moved = lengths(perturb(x, teacher(), seed=0, step=0) - x)
    torch.testing.assert_close(moved, torch.full((4,), 8 / 255), rtol=1e-4, atol=0)


def test_confident_examples_move_further_in_conf_ods_by_the_softened_confidence():
    x, network = 0.3 + 0.4 * images(6), teacher(scale=20)
    kwargs = {"eta": 4.0, "temperature": 2.0}
    plain = InputPerturbation(kind="ods", **kwargs)(x, network, seed=0, step=5) - x
    scaled = InputPerturbation(kind="conf_ods", **kwargs)(x, network, seed=0, step=5) - x
    confidence = torch.softmax(network(x).detach() / 2, dim=1).max(dim=1).values
    assert confidence.max() - confidence.min() > 0.1
    torch.testing.assert_close(scaled, plain * confidence[:, None, None, None], atol=1e-6, rtol=0)


def test_none_gives_the_images_themselves():
    x = images(2)
    assert InputPerturbation(kind="none")(x, teacher(), seed=0, step=0) is x


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    norm=st.sampled_from(["rms", "l2"]),
    eta=st.floats(0, 600),
    step=st.integers(0, 2**40),
    seed=st.integers(0, 2**62),
    scale=st.floats(0, 1e4),
)
def test_what_comes_out_is_an_image_and_the_same_every_time(kind, norm, eta, step, seed, scale):
    x, network = images(3), teacher(scale=scale)
    perturb = InputPerturbation(kind=kind, norm=norm, eta=eta)
    perturbed = perturb(x, network, seed=seed, step=step)
    assert perturbed.shape == x.shape
    assert ((perturbed >= 0) & (perturbed <= 1)).all()
    torch.manual_seed(step)  # no draw comes from torch's own state
    assert torch.equal(perturbed, perturb(x, network, seed=seed, step=step))


@pytest.mark.parametrize("kind", KINDS)
def test_seed_and_step_decide_the_draw(kind):
    x, network, perturb = images(3), teacher(), InputPerturbation(kind=kind, eta=8.0)
    one = perturb(x, network, seed=0, step=0)
    assert not torch.equal(one, perturb(x, network, seed=0, step=1))
    assert not torch.equal(one, perturb(x, network, seed=1, step=0))


@pytest.mark.parametrize("kind", KINDS)
def test_a_shard_is_rows_of_the_whole(kind):
    x, network, perturb = images(6), teacher(), InputPerturbation(kind=kind, eta=8.0)
    whole = perturb(x, network, seed=0, step=3)
    parts = [
        perturb(x[2 * rank : 2 * rank + 2], network, seed=0, step=3, shard=(rank, 3))
        for rank in range(3)
    ]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-6)
    assert not torch.allclose(parts[0] - x[:2], parts[1] - x[2:4], atol=1e-3)


def test_directions_weigh_classes_uniformly_between_minus_1_and_1():
    seen = []

    def spy(x):
        # Logits that are 0, with the gradient of class c in pixel c: g = w-dependent and known.
        return x.flatten(1)[:, :5] - x.flatten(1)[:, :5].detach()

    x = images(2000, (1, 1, 5))
    for step in range(2):
        perturb = InputPerturbation(kind="ods", norm="l2")
        moved = perturb(0.5 + 0 * x, spy, seed=0, step=step) - 0.5
        seen.append(moved.flatten(1) * 255)
    # ε ∝ w − mean(w): its direction is that of uniform draws with the mean taken out.
    w = 2 * torch.rand(20000, 5, generator=torch.Generator().manual_seed(9)) - 1
    w = w - w.mean(dim=1, keepdim=True)
    expected = w / w.norm(dim=1, keepdim=True)
    for epsilon in seen:
        assert epsilon.mean(dim=0).abs().max() < 0.05
        for power in (4, 6):  # moments that normal draws would not have
            torch.testing.assert_close(
                epsilon.pow(power).mean(), expected.pow(power).mean(), rtol=0.05, atol=0
            )


def test_every_teacher_has_its_turn():
    perturb = InputPerturbation(kind="ods")
    chosen = [perturb.chosen_teacher(0, step, 4) for step in range(400)]
    assert chosen == [perturb.chosen_teacher(0, step, 4) for step in range(400)]
    assert chosen != [perturb.chosen_teacher(1, step, 4) for step in range(400)]
    counts = [chosen.count(number) for number in range(4)]
    assert sum(counts) == 400
    assert min(counts) > 60  # 100 ± 4.6 standard deviations
    assert {perturb.chosen_teacher(0, step, 1) for step in range(9)} == {0}


def test_under_autocast_what_follows_the_logits_is_float32():
    network, x, w = resnet(), images(4, (3, 32, 32)), weights(4, 10)
    seen = []
    network.register_forward_hook(lambda *args: seen.append(args[2].dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        epsilon = ods_direction(network, x, w, norm="l2")
    assert seen == [torch.bfloat16]
    assert epsilon.dtype == torch.float32
    # In bf16 the length would be right to a few thousandths only.
    torch.testing.assert_close(lengths(epsilon), torch.ones(4), rtol=1e-5, atol=0)
    exact = ods_direction(network, x, w, norm="l2")
    assert (epsilon * exact).flatten(1).sum(dim=1).min() > 0.9
