"""Gradients per layer: hand values, and a network left exactly as it was."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cohort.analysis.gradients import (
    backbone_of,
    gradient_magnitudes,
    last_exit_loss,
    loss_of_exits,
)
from cohort.objectives.self_distillation import DEEP_SUPERVISION, SelfDistillation
from tests.support.exits import CLASSES, IMAGE_SHAPE, tiny_student

EVERY_EXIT = loss_of_exits(DEEP_SUPERVISION)
SECOND = "network.sections.1.body.1.0"
STATISTIC = "network.sections.0.body.0.1.running_mean"


def batches(count=2, size=8):
    random = torch.Generator().manual_seed(0)
    return [
        (torch.rand(size, *IMAGE_SHAPE, generator=random),
         torch.randint(CLASSES, (size,), generator=random))
        for _ in range(count)
    ]  # fmt: skip


def test_hand_values():
    network = nn.Sequential(nn.Linear(2, 1, bias=False))
    given = [(torch.tensor([[1.0, -3.0]]), torch.zeros(1)), (torch.tensor([[0.0, 8.0]]),) * 2]
    # dL/dw is x for L = w x: means of |x| are 2 and 4, never those of the summed gradient.
    assert gradient_magnitudes(network, lambda net, x, y: net(x).sum(), given) == {"0": 3.0}


def test_against_backward():
    student = tiny_student()
    found = gradient_magnitudes(student, last_exit_loss, batches(1))
    torch.manual_seed(0)
    last_exit_loss(student.train(), *batches(1)[0]).backward()
    for name, magnitude in found.items():
        gradient = student.get_submodule(name).weight.grad
        expected = 0.0 if gradient is None else float(gradient.abs().mean())
        assert magnitude == pytest.approx(expected, rel=1e-5), name


def test_layers_in_order_and_those_of_shallow_exits_without_gradient():
    student = tiny_student()
    last = gradient_magnitudes(student, last_exit_loss, batches())
    every = gradient_magnitudes(student, EVERY_EXIT, batches())
    assert list(last) == list(every)
    assert list(every) == [
        "network.sections.0.body.0.0", "network.sections.1.body.1.0", "network.sections.2.body.2.0",
        *(f"network.branches.{branch}.{layer}" for branch in (0, 1) for layer in (0, 3, 6)),
        "network.classifiers.0", "network.classifiers.1", "network.classifiers.2",
    ]  # fmt: skip
    modules, backbone = dict(student.named_modules()), backbone_of(student)
    assert [name for name in last if modules[name] not in backbone] == list(last)[3:11]
    assert [name for name, value in last.items() if value == 0] == list(last)[3:11]
    assert all(every.values())
    assert last["network.sections.0.body.0.0"] != every["network.sections.0.body.0.0"]
    assert last["network.classifiers.2"] == pytest.approx(every["network.classifiers.2"])


def test_labels_at_every_exit_is_the_sum_of_cross_entropies():
    student, ((images, labels),) = tiny_student(), batches(1)
    expected = sum(F.cross_entropy(z, labels) for z in student.outputs(images).logits)
    torch.testing.assert_close(EVERY_EXIT(student, images, labels), expected)


def test_what_teaches_the_shallow_exits_is_a_constant_to_the_deepest():
    student = tiny_student()
    taught = gradient_magnitudes(student, loss_of_exits(SelfDistillation()), batches())
    last = gradient_magnitudes(student, last_exit_loss, batches())
    deepest = ["network.sections.2.body.2.0", "network.classifiers.2"]
    assert [taught[name] for name in deepest] == pytest.approx([last[name] for name in deepest])
    every = gradient_magnitudes(student, EVERY_EXIT, batches())
    assert all(taught[name] not in (last[name], every[name]) for name in list(last)[:2])


def test_a_network_without_exits_is_all_backbone():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
    assert backbone_of(network) == set(network.modules())


def test_a_frozen_layer_is_left_out():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, 5))
    network[1].requires_grad_(False)
    assert list(gradient_magnitudes(network, last_exit_loss, batches())) == ["2"]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("failing", [True, False])
def test_nothing_changes(training, failing):
    student = tiny_student().train(training)
    student.network.branches[0].train(not training)
    student.get_submodule(SECOND).weight.grad = torch.ones(6, 4, 3, 3)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    modes = [module.training for module in student.modules()]
    seen = []

    def loss(network, x, y):
        value = EVERY_EXIT(network, x, y)
        seen.append((network.training, network.get_buffer(STATISTIC).clone()))
        if failing:
            raise ArithmeticError("of this test")
        return value

    torch.manual_seed(5)
    expected_random = torch.rand(3)
    torch.manual_seed(5)
    if failing:
        with pytest.raises(ArithmeticError, match="of this test"):
            gradient_magnitudes(student, loss, batches())
    else:
        gradient_magnitudes(student, loss, batches())
    assert torch.equal(torch.rand(3), expected_random)
    assert seen[0][0] is True
    assert not torch.equal(seen[0][1], before[STATISTIC])
    after = student.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert [module.training for module in student.modules()] == modes
    gradients = {name: p.grad for name, p in student.named_parameters() if p.grad is not None}
    assert list(gradients) == [f"{SECOND}.weight"]
    assert torch.equal(gradients[f"{SECOND}.weight"], torch.ones(6, 4, 3, 3))


def test_it_depends_on_the_batches_alone():
    # Dropout is drawn anew but alike, whatever the random state.
    first = gradient_magnitudes(tiny_student(), last_exit_loss, batches())
    torch.manual_seed(77)
    assert gradient_magnitudes(tiny_student(), last_exit_loss, batches()) == first


def test_no_batch_is_refused():
    with pytest.raises(ValueError, match="no batches"):
        gradient_magnitudes(tiny_student(), last_exit_loss, [])
