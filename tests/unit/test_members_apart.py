"""Networks whose members would share what each is to have for itself are refused, and no others."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cohort.errors import ConfigError
from cohort.models.batch_ensemble import batch_ensemble
from cohort.models.member_layers import MemberLayer, fast_weights
from cohort.models.members_apart import check_members_apart
from cohort.models.registry import build_network
from cohort.models.spec import WithMembers

SHAPE = (2, 8, 8)


class Base(nn.Module):
    """Two layers that are called."""

    def __init__(self, num_classes=4):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout())
        self.fc = nn.Linear(3, num_classes)
        self.register_buffer("seen", torch.zeros(()))

    def maps(self, x):
        return self.body(x)

    def classify(self, maps):
        return self.fc(maps.mean((2, 3)))

    def forward(self, x):
        return self.classify(self.maps(x))


class OwnConvolution(Base):
    def maps(self, x):
        conv, *rest = self.body
        return nn.Sequential(*rest)(F.conv2d(x, conv.weight, stride=conv.stride))


class OwnLinear(Base):
    def classify(self, maps):
        return F.linear(maps.mean((2, 3)), self.fc.weight)


class OwnBias(Base):
    def classify(self, maps):
        return super().classify(maps) + self.fc.bias.sum()


class OwnBiases(Base):
    """Adds the last bias, which is the last member's, to everybody's answer."""

    def classify(self, maps):
        return super().classify(maps) + self.fc.bias.view(-1)[0]


class Tied(Base):
    """The linear layer is called, and its weight is used once more."""

    def classify(self, maps):
        logits = super().classify(maps)
        return logits + F.linear(logits @ self.fc.weight, self.fc.weight)


class OwnBeforeZeros(OwnConvolution):
    """Gives zeros until it has learned something."""

    def __init__(self, num_classes=4):
        super().__init__(num_classes)
        nn.init.zeros_(self.fc.weight)


class OwnAndRandom(OwnConvolution):
    """Draws in evaluation too."""

    def maps(self, x):
        return F.dropout(super().maps(x), training=True)


class DirectForward(Base):
    """Past the hooks of a layer, but not past its forward."""

    def classify(self, maps):
        return self.fc.forward(maps.mean((2, 3)))


class Unused(Base):
    def __init__(self, num_classes=4):
        super().__init__(num_classes)
        self.spare = nn.Linear(5, 5)


class AsksForTheType(Base):
    """What a weight is like is nobody's secret."""

    def forward(self, x):
        return super().forward(x.to(self.fc.weight.dtype).to(self.fc.weight.device))


class Frozen(Base):
    @torch.no_grad()
    def maps(self, x):
        return super().maps(x)


class Normalising(Base):
    """Uses the parameters of a layer that members share anyway."""

    def maps(self, x):
        conv, norm, *_ = self.body
        return F.batch_norm(
            conv(x), norm.running_mean, norm.running_var, norm.weight, norm.bias, self.training
        )


def with_members(network, members=2):
    return build_network(WithMembers(network, members), num_classes=4, image_shape=SHAPE)


@pytest.mark.parametrize(
    "network", [OwnConvolution, OwnLinear, OwnBias, OwnBiases, Tied, OwnBeforeZeros, OwnAndRandom]
)
@pytest.mark.parametrize("members", [2, 3])
def test_a_weight_taken_out_of_its_layer_is_refused(network, members):
    with pytest.raises(ConfigError) as caught:
        check_members_apart(with_members(network, members), SHAPE, "--model")
    told = str(caught.value)
    assert told.startswith("--model cannot be a batch ensemble: a member's answer depends on more ")
    assert "self.conv(x)" in told
    assert "\n" not in told


@pytest.mark.parametrize(
    "network", [Base, DirectForward, Unused, AsksForTheType, Frozen, Normalising]
)
def test_whoever_calls_its_layers_may_have_members(network):
    for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with mode():
            ensemble = with_members(network, 3)
            check_members_apart(ensemble, SHAPE, "--model")
    assert len(list(fast_weights(ensemble))) == 2 * (2 + (network is Unused))


def test_a_trial_leaves_no_trace():
    network = Base()
    network.body[0].weight.requires_grad = False
    network.fc.eval()
    ensemble, random_state = batch_ensemble(network, 2), torch.get_rng_state()
    before = copy.deepcopy(ensemble)
    check_members_apart(ensemble, SHAPE, "--model")
    assert torch.equal(torch.get_rng_state(), random_state)
    for one, other in zip(ensemble.parameters(), before.parameters(), strict=True):
        assert torch.equal(one, other)
        assert one.requires_grad == other.requires_grad
        assert one.grad is None
    for one, other in zip(ensemble.modules(), before.modules(), strict=True):
        assert one.training == other.training
        assert "weights" not in vars(one)


def test_a_layer_with_a_forward_of_its_own_is_none():
    network = Base()
    network.fc.forward = lambda x: F.linear(x, network.fc.weight)
    with pytest.raises(ConfigError, match=r"module 'fc' is a Linear with .* only plain Conv1d"):
        batch_ensemble(network, 2)


# Members among each other


class PlacesFirst(Base):
    """Gives the linear layer the 36 places of the maps first, which 2, 3 and 4 members can share."""

    def classify(self, maps):
        return self.fc(maps.flatten(2).permute(2, 0, 1)).mean(0)


class PlacesSecond(Base):
    def classify(self, maps):
        return self.fc(maps.flatten(2).mT).mean(1)


class Mixing(Base):
    def maps(self, x):
        maps = super().maps(x)
        return maps - maps.mean(0)


class AlwaysRandom(Base):
    """Draws in evaluation too, so that nobody answers twice the same."""

    def maps(self, x):
        return F.dropout(super().maps(x), training=True)


class Overflowing(Base):
    def classify(self, maps):
        return super().classify(maps) * 1e38 * 1e38


@pytest.mark.parametrize("members", [2, 4])
@pytest.mark.parametrize("network", [PlacesFirst, Mixing])
def test_members_that_are_mixed_up_are_refused(network, members):
    ensemble = with_members(network, members)
    with pytest.raises(ConfigError) as caught:
        check_members_apart(ensemble, SHAPE, "--model")
    assert str(caught.value).startswith("--model cannot be a batch ensemble: a member's answer ")
    assert "first dimension" in str(caught.value)


@pytest.mark.parametrize("network", [Base, PlacesSecond, AlwaysRandom, Overflowing])
def test_members_that_are_not_are_let_be(network):
    ensemble = with_members(network, 4).train()
    check_members_apart(ensemble, SHAPE, "--model")
    assert ensemble.training
    assert sum(isinstance(m, MemberLayer) for m in ensemble.modules()) == 2


@pytest.mark.parametrize("name", ["resnet8", "resnet110", "wrn_16_4", "mobilenet", "inception_v1"])
def test_the_papers_networks_pass(name):
    shape = (3, 32, 32)
    ensemble = build_network(f"{name}+members=3", num_classes=4, image_shape=shape)
    check_members_apart(ensemble, shape, "--model")
