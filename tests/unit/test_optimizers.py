"""The papers' optimisers: their constants, and who gets weight decay."""

import copy

import pytest
import torch
from torch import nn

from cohort.learning.optimizers import build_optimizer, load_state, saved_state, set_rates, update
from cohort.models.batch_ensemble import batch_ensemble
from cohort.models.member_layers import fast_weights
from tests.support.learners import bare_plan


@pytest.fixture
def network():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


def decays(network, optimizer):
    """{parameter name: weight decay}."""
    by_id = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    return {name: by_id[id(p)] for name, p in network.named_parameters() if id(p) in by_id}


def build(network, name="sgd", decay_on="all"):
    plan = bare_plan(optimizer=name, lr=0.1, weight_decay=5e-4, decay_on=decay_on)
    return build_optimizer(network, plan)


def test_decay_on_all(network):
    everything = dict.fromkeys((name for name, _ in network.named_parameters()), 5e-4)
    assert decays(network, build(network)) == everything


def test_decay_on_weights(network):
    assert decays(network, build(network, decay_on="weights")) == {
        "0.weight": 5e-4,
        "0.bias": 0.0,
        "1.weight": 0.0,
        "1.bias": 0.0,
        "3.weight": 5e-4,
        "3.bias": 0.0,
    }


@pytest.mark.parametrize("decay_on", ["all", "weights"])
def test_frozen_parameters_are_left_out(network, decay_on):
    network[0].requires_grad_(False)
    assert set(decays(network, build(network, decay_on=decay_on))) == {
        "1.weight",
        "1.bias",
        "3.weight",
        "3.bias",
    }


def test_a_network_without_biases(network):
    optimizer = build(nn.Linear(2, 2, bias=False), decay_on="weights")
    assert len(optimizer.param_groups) == 1


def test_adam_has_the_papers_betas(network):
    optimizer = build(network, "adam")
    assert isinstance(optimizer, torch.optim.Adam)
    assert not isinstance(optimizer, torch.optim.AdamW)
    assert {g["betas"] for g in optimizer.param_groups} == {(0.5, 0.999)}


@pytest.mark.parametrize(("name", "ahead"), [("sgd", 1.0), ("momentum", 0.0)])
def test_sgd_by_hand(name, ahead):
    """v = 0.9 v + g with g = gradient + decay w; then w -= lr (g + 0.9 v), or w -= lr v."""
    w = nn.Linear(1, 1, bias=False).double()
    w.weight.data.fill_(2.0)
    optimizer = build_optimizer(w, bare_plan(optimizer=name, lr=0.1, weight_decay=0.01))
    weight, velocity = 2.0, 0.0
    for _ in range(3):
        w.weight.grad = torch.full_like(w.weight, 0.5)
        optimizer.step()
        gradient = 0.5 + 0.01 * weight
        velocity = 0.9 * velocity + gradient
        weight -= 0.1 * (ahead * (gradient + 0.9 * velocity) + (1 - ahead) * velocity)
        assert w.weight.item() == pytest.approx(weight, rel=1e-12)


def test_adamw_by_hand():
    """w -= lr decay w, of weights only, then w -= lr m / (sqrt(v) + 1e-8), both without their bias."""
    layer = nn.Linear(1, 1).double()
    layer.weight.data.fill_(2.0)
    layer.bias.data.fill_(2.0)
    plan = bare_plan(optimizer="adamw", lr=0.1, weight_decay=0.5, decay_on="weights")
    optimizer = build_optimizer(layer, plan)
    for parameter, decay in ((layer.weight, 0.5), (layer.bias, 0.0)):
        value, m, v = 2.0, 0.0, 0.0
        for step, gradient in enumerate((0.5, -1.0, 0.25), start=1):
            optimizer.zero_grad()
            parameter.grad = torch.full_like(parameter, gradient)
            optimizer.step()
            m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
            value -= 0.1 * decay * value
            value -= 0.1 * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)) ** 0.5 + 1e-8)
            assert parameter.item() == pytest.approx(value, rel=1e-12)


# As a GPU has it: one kernel, whose learning rate is a tensor. torch has it for the CPU too


def as_on_gpu(network, name):
    optimizer = build(network, name)
    for group in optimizer.param_groups:
        group |= {"fused": True, "foreach": False, "lr": torch.tensor(group["lr"])}
    return optimizer


def step(network, optimizer, value):
    optimizer.zero_grad()
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, value)
    update(optimizer)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("there", [build, as_on_gpu])
def test_a_state_is_exchanged_between_cpu_and_gpu(network, name, there):
    """What one has saved, the other goes on with, in its own way; the file is the CPU's."""
    other = copy.deepcopy(network)
    first, second = as_on_gpu(network, name), there(other, name)
    options = [{k: v for k, v in g.items() if k != "params"} for g in second.param_groups]
    set_rates(first, 0.03)
    step(network, first, 0.5)
    saved = copy.deepcopy(saved_state(first))
    plain = build(copy.deepcopy(network), name)
    plain_group = plain.state_dict()["param_groups"][0]
    assert saved["param_groups"][0] == plain_group | {
        "lr": pytest.approx(0.03), "foreach": False, "params": [0, 1, 2, 3, 4, 5]
    }  # fmt: skip
    assert type(saved["param_groups"][0]["lr"]) is float
    other.load_state_dict(network.state_dict())
    load_state(second, saved)
    assert [{k: v for k, v in g.items() if k != "params"} for g in second.param_groups] == options
    set_rates(second, 0.03)
    for each, optimizer in ((network, first), (other, second)):
        step(each, optimizer, -0.25)
    for mine, its in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-6, atol=1e-7)


def test_a_state_of_other_parameters_is_refused(network):
    saved = saved_state(build(nn.Linear(2, 2), "sgd", decay_on="weights"))
    with pytest.raises(ValueError, match="parameter group"):
        load_state(build(network), saved)


# A batch ensemble


@pytest.fixture
def ensemble():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    return batch_ensemble(network, 2)


FAST = {f"network.{layer}.{name}" for layer in (0, 3) for name in "rs"}


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("decay_on", ["all", "weights"])
def test_every_parameter_is_in_one_group(ensemble, name, decay_on):
    optimizer = build(ensemble, name, decay_on)
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in ensemble.parameters())
    assert [len(group["params"]) for group in optimizer.param_groups] == (
        [6, 4] if decay_on == "all" else [2, 4, 4]
    )
    assert [group.get("lr_scale") for group in optimizer.param_groups[:-1]] == [None] * (
        len(optimizer.param_groups) - 1
    )
    assert optimizer.param_groups[-1]["lr_scale"] == 0.5
    assert optimizer.param_groups[-1]["lr"] == 0.05
    assert {id(p) for p in optimizer.param_groups[-1]["params"]} == {
        id(p) for name, p in ensemble.named_parameters() if name in FAST
    }


@pytest.mark.parametrize("decay_on", ["all", "weights"])
def test_fast_weights_never_decay(ensemble, decay_on):
    found = decays(ensemble, build(ensemble, decay_on=decay_on))
    undecayed = {name for name, decay in found.items() if decay == 0}
    others = {"network.0.bias", "network.1.weight", "network.1.bias", "network.3.bias"}
    assert undecayed == (FAST if decay_on == "all" else FAST | others)
    assert {decay for name, decay in found.items() if name not in undecayed} == {5e-4}


def test_frozen_fast_weights_are_left_out(ensemble):
    for weight in fast_weights(ensemble):
        weight.requires_grad_(False)
    optimizer = build(ensemble)
    assert [group.get("lr_scale") for group in optimizer.param_groups] == [None]
