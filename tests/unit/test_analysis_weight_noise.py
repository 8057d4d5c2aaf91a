"""Noise on the weights: its size, its measurements, and that nothing of it stays."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from cohort.analysis.weight_noise import noisy, weight_noise_curve
from cohort.data.dataset import Split
from cohort.learning.evaluation import log_posterior_over
from cohort.metrics.classification import accuracy, negative_log_likelihood
from cohort.seeding import generator
from tests.support.exits import tiny_student
from tests.support.splits import random_split

CPU = torch.device("cpu")


def state_of(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def first_layer(student):
    return next(module for module in student.modules() if isinstance(module, nn.Conv2d))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_without_noise_it_is_the_evaluation():
    student, split = tiny_student(), random_split()
    (point,) = weight_noise_curve(student, split, [0.0], 3, 0, CPU)
    posterior, labels = log_posterior_over(student, split, CPU), torch.from_numpy(split.labels)
    assert point.accuracy_mean == pytest.approx(accuracy(posterior, labels))
    assert point.loss_mean == pytest.approx(negative_log_likelihood(posterior, labels))
    assert point.accuracy_std == point.loss_std == 0


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_bit_for_bit(training):
    student = tiny_student().train(training)
    first_layer(student).weight.grad = torch.ones(4, 1, 3, 3)
    before, modes = state_of(student), [module.training for module in student.modules()]
    weight_noise_curve(student, random_split(), [0.1, 1e30], 2, 0, CPU)
    assert same(state_of(student), before)
    assert [module.training for module in student.modules()] == modes
    assert torch.equal(first_layer(student).weight.grad, torch.ones(4, 1, 3, 3))


def test_the_network_is_left_bit_for_bit_after_an_exception(monkeypatch):
    student, seen = tiny_student(), []
    before = state_of(student)

    def fail(x):
        seen.append(state_of(student))
        raise ArithmeticError("of this test")

    monkeypatch.setattr(student, "forward", fail)
    with pytest.raises(ArithmeticError, match="of this test"):
        weight_noise_curve(student, random_split(), [0.1], 1, 0, CPU)
    assert len(seen) == 1
    assert not same(seen[0], before)
    assert same(state_of(student), before)


def test_the_noise_is_normal_of_the_size_said_and_spares_buffers():
    network = nn.Sequential(nn.Linear(200, 100), nn.BatchNorm1d(100))
    before = state_of(network)
    with noisy(network, 0.3, generator(0, "noise")):
        after = state_of(network)
    noise = (after["0.weight"] - before["0.weight"]).flatten()
    assert float(noise.mean()) == pytest.approx(0, abs=0.01)
    assert float(noise.std()) == pytest.approx(0.3, rel=0.02)
    assert float((noise.abs() < 0.3).float().mean()) == pytest.approx(0.6827, abs=0.01)
    assert not torch.equal(after["1.bias"], before["1.bias"])
    for name, _ in network.named_buffers():
        assert torch.equal(after[name], before[name]), name


def test_relative_noise_scales_with_each_tensor():
    network = nn.Sequential(nn.Linear(100, 100, bias=False), nn.Linear(100, 100, bias=False))
    nn.init.constant_(network[0].weight, 7.0)
    nn.init.constant_(network[1].weight, -0.01)
    before = state_of(network)
    with noisy(network, 0.1, generator(0, "noise"), relative=True):
        after = state_of(network)
    sizes = [float((after[name] - before[name]).std()) for name in before]
    assert sizes == pytest.approx([0.7, 0.001], rel=0.03)


def test_relative_noise_does_not_see_the_scale_of_a_network():
    # The logits of a bias-free ReLU network scale with each weight: the top class stays.
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32, bias=False), nn.ReLU(), nn.Linear(32, 5, bias=False)
    )
    split, options = random_split(200), {"draws": 2, "seed": 0, "device": CPU}
    small = weight_noise_curve(network, split, [0.5], relative=True, **options)
    absolute_small = weight_noise_curve(network, split, [0.5], **options)
    with torch.no_grad():
        network[1].weight *= 64
    large = weight_noise_curve(network, split, [0.5], relative=True, **options)
    absolute_large = weight_noise_curve(network, split, [0.5], **options)
    assert small[0].accuracy_mean == large[0].accuracy_mean
    assert absolute_small[0].accuracy_mean != absolute_large[0].accuracy_mean


def test_mean_and_standard_deviation_over_independent_draws():
    student, split = tiny_student(), random_split()
    (both,) = weight_noise_curve(student, split, [0.2], 2, 0, CPU)
    losses = []
    for draw in range(2):
        with noisy(student, 0.2, generator(0, "weight noise", draw)):
            posterior = log_posterior_over(student, split, CPU)
        losses.append(negative_log_likelihood(posterior, torch.from_numpy(split.labels)))
    assert losses[0] != losses[1]
    assert both.loss_mean == pytest.approx(np.mean(losses))
    assert both.loss_std == pytest.approx(np.std(losses, ddof=1))
    (one,) = weight_noise_curve(student, split, [0.2], 1, 0, CPU)
    assert one.loss_mean == pytest.approx(losses[0])
    assert math.isnan(one.loss_std)


def test_the_seed_alone_decides():
    student, split = tiny_student(), random_split()
    first = weight_noise_curve(student, split, [0.1, 0.2], 2, 3, CPU)
    torch.manual_seed(99)
    assert weight_noise_curve(student, split, [0.2, 0.1], 2, 3, CPU) == first[::-1]
    assert weight_noise_curve(student, split, [0.1, 0.2], 2, 4, CPU) != first


def test_more_noise_costs_more_accuracy():
    # A classifier that is always right: the image says the class by which quarter is bright.
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4, bias=False))
    images = np.zeros((80, 1, 8, 8), np.uint8)
    labels = np.arange(80) % 4
    for image, label in zip(images, labels, strict=True):
        image[0, 2 * label : 2 * label + 2] = 255
    weight = torch.zeros(4, 8, 8)
    for label in range(4):
        weight[label, 2 * label : 2 * label + 2] = 1
    network[1].weight.data = weight.view(4, 64)
    points = weight_noise_curve(network, Split(images, labels), [0, 0.1, 3, 30], 8, 0, CPU)
    accuracies = [point.accuracy_mean for point in points]
    assert accuracies[:2] == [1, 1]
    assert 1 > accuracies[2] > accuracies[3]
    assert [p.loss_mean for p in points] == sorted(p.loss_mean for p in points)
