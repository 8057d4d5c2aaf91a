"""Members that share their weights, against the paper's own form: r_j * (W (s_j * x)) + b_j."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations

from cohort.errors import ConfigError
from cohort.models.batch_ensemble import batch_ensemble
from cohort.models.member_layers import MemberConv2d, fast_weights, member_biases, member_layers
from cohort.models.registry import build_network

CLASSES = 4


def scaled(factor_MC, x, channels):
    """Each member's part of a batch, times its own factor for each channel."""
    shape = [1] * x.dim()
    shape[channels] = -1
    parts = x.chunk(len(factor_MC))
    return torch.cat([part * f.view(shape) for part, f in zip(parts, factor_MC, strict=True)])


def by_activations(plain, layer, x):
    """What the paper computes: ``plain`` is the layer that was converted, with the same W."""
    channels = -1 if isinstance(plain, nn.Linear) else 1
    bare = copy.deepcopy(plain)
    bare.bias = None
    products = torch.func.functional_call(
        bare, {"weight": layer.weight}, (scaled(layer.s, x, channels),)
    )
    products = scaled(layer.r, products, channels)
    if layer.bias is None:
        return products
    return products + scaled(layer.bias, torch.ones_like(products), channels)


def check_layer(plain, x, members):
    plain = plain.double()
    layer = batch_ensemble(copy.deepcopy(plain), members).network
    if layer.bias is not None:
        nn.init.normal_(layer.bias)
    weights = [p for p in (layer.weight, layer.r, layer.s, layer.bias) if p is not None]
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    given, expected = layer(ours), by_activations(plain, layer, theirs)
    torch.testing.assert_close(given, expected)
    upstream = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad(given, [ours, *weights], upstream),
        torch.autograd.grad(expected, [theirs, *weights], upstream),
    )


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: nn.Linear(3, 5), (3,)),
        (lambda: nn.Linear(3, 5, bias=False), (7, 3)),
        (lambda: nn.Conv1d(3, 5, 3, padding=1), (3, 9)),
        (lambda: nn.Conv2d(3, 5, 3, stride=2, bias=False), (3, 6, 7)),
        (lambda: nn.Conv2d(4, 6, 3, padding="same", groups=2, dilation=2), (4, 6, 6)),
        (lambda: nn.Conv2d(4, 8, 3, padding=1, groups=4, padding_mode="circular"), (4, 5, 5)),
        (lambda: nn.Conv3d(2, 4, 2, groups=2), (2, 3, 4, 5)),
    ],
)
@pytest.mark.parametrize("members", [2, 3])
def test_layers_are_the_papers(layer, shape, members):
    torch.manual_seed(0)
    check_layer(layer(), torch.randn(members * 2, *shape, dtype=torch.float64), members)


@settings(max_examples=25, deadline=None)
@given(
    groups=st.integers(1, 3),
    inputs=st.integers(1, 3),
    outputs=st.integers(1, 3),
    kernel=st.sampled_from([1, 2, 3]),
    bias=st.booleans(),
    members=st.integers(2, 4),
    batch=st.integers(1, 3),
)
def test_any_convolution(groups, inputs, outputs, kernel, bias, members, batch):
    torch.manual_seed(1)
    plain = nn.Conv2d(groups * inputs, groups * outputs, kernel, groups=groups, bias=bias)
    x = torch.randn(members * batch, groups * inputs, 4, 4, dtype=torch.float64)
    check_layer(plain, x, members)


def test_a_product_by_hand():
    plain = nn.Linear(2, 1)
    layer = batch_ensemble(plain, 2).network
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 10.0]]))
        layer.r.copy_(torch.tensor([[2.0], [3.0]]))
        layer.s.copy_(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))
        layer.bias.copy_(torch.tensor([[0.5], [0.0]]))
    assert layer(torch.tensor([[4.0, 7.0], [4.0, 7.0]])).tolist() == [[8.5], [198.0]]


def of(name, classes=CLASSES):
    torch.manual_seed(3)
    network = build_network(name, num_classes=classes, image_shape=(3, 32, 32))
    network(torch.rand(8, 3, 32, 32))  # moves the running statistics
    return network.eval()


@pytest.mark.parametrize("name", ["resnet8", "wrn_16_1", "mobilenet", "resnext29_2x4d"])
def test_members_that_scale_nothing_are_the_network(name):
    """Every member, bit for bit, though the network be nested, grouped or depthwise."""
    network = of(name)
    x = torch.rand(3, 3, 32, 32)
    expected = network(x)
    ensemble = batch_ensemble(network, 4).eval()
    assert not torch.equal(ensemble(x)[0], expected)
    for weight in fast_weights(ensemble):
        nn.init.ones_(weight)
    logits_MBC = ensemble(x)
    assert logits_MBC.shape == (4, 3, CLASSES)
    assert all(torch.equal(logits_BC, expected) for logits_BC in logits_MBC)


@pytest.mark.parametrize("name", ["resnet8", "mobilenet"])
def test_a_member_alone_is_a_plain_network(name):
    network = of(name)
    plain_types = [type(module) for module in network.modules()]
    ensemble = batch_ensemble(network, 3).eval()
    x = torch.rand(2, 3, 32, 32)
    before = ensemble(x)
    for member in range(3):
        alone = ensemble.member_alone(member)
        assert [type(module) for module in alone.modules()] == plain_types
        assert alone.state_dict().keys() == of(name).state_dict().keys()
        assert not any(module.training for module in alone.modules())
        torch.testing.assert_close(alone(x), before[member])
        with torch.no_grad():
            for parameter in alone.parameters():
                parameter.zero_()
    assert torch.equal(ensemble(x), before)  # they were copies
    for nobody in (-1, 3):
        with pytest.raises(ConfigError, match=rf"member is {nobody}; .* 0 to 2"):
            ensemble.member_alone(nobody)


def test_fast_weights_are_each_members_own():
    ensemble = batch_ensemble(of("resnet8"), 3).eval()
    x = torch.rand(2, 3, 32, 32)
    before = ensemble(x)
    with torch.no_grad():
        for weight in fast_weights(ensemble):
            weight[1].mul_(1.1)
    after = ensemble(x)
    assert [torch.equal(after[j], before[j]) for j in range(3)] == [True, False, True]


def test_batch_normalisation_sees_all_members():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 1, bias=False), nn.BatchNorm2d(3), nn.Flatten())
    plain = copy.deepcopy(network)
    ensemble = batch_ensemble(network, 2)
    conv, norm, _ = ensemble.network
    x = torch.rand(4, 2, 1, 1)
    maps = by_activations(plain[0], conv, torch.cat([x, x])).flatten(1)
    expected = (maps - maps.mean(0)) / (maps.var(0, unbiased=False) + norm.eps).sqrt()
    torch.testing.assert_close(ensemble(x).flatten(0, 1), expected)
    torch.testing.assert_close(norm.running_mean, 0.1 * maps.mean(0))


class Shared(nn.Module):
    """One convolution in two places, one weight in two layers, and r and s as names of modules."""

    def __init__(self):
        super().__init__()
        self.r = nn.Conv2d(3, 3, 1)
        self.blocks = nn.ModuleList([nn.Sequential(self.r), nn.ModuleDict({"s": self.r})])
        self.head = nn.Linear(3, CLASSES)
        self.other = nn.Linear(3, CLASSES, bias=False)
        self.other.weight = self.head.weight

    def forward(self, x):
        x = self.blocks[1]["s"](self.blocks[0](self.r(x))).mean((2, 3))
        return self.head(x) + self.other(x)


def test_a_layer_in_two_places_is_one():
    network = Shared()
    ensemble = batch_ensemble(network, 2)
    assert network.r is network.blocks[0][0] is network.blocks[1]["s"]
    assert len(member_layers(ensemble)) == 3
    assert network.head.weight is network.other.weight
    expected = [network.r.r, network.r.s, network.head.r, network.head.s]
    expected += [network.other.r, network.other.s]
    assert {id(weight) for weight in fast_weights(ensemble)} == {id(weight) for weight in expected}
    assert {id(b) for b in member_biases(ensemble)} == {id(network.r.bias), id(network.head.bias)}
    x = torch.rand(2, 3, 4, 4)
    alone = ensemble.member_alone(1)
    assert alone.r is alone.blocks[0][0]
    torch.testing.assert_close(alone(x), ensemble(x)[1])


def test_what_a_layer_keeps():
    torch.manual_seed(0)
    plain = nn.Conv2d(2, 3, 3)
    plain.weight.requires_grad_(False)
    calls = []
    plain.register_forward_hook(lambda *_: calls.append(1))
    layer = batch_ensemble(plain, 2).network
    assert isinstance(layer, MemberConv2d)
    assert layer.weight is plain.weight
    assert set(layer.state_dict()) == {"weight", "bias", "r", "s"}
    assert torch.equal(layer.bias, plain.bias.expand(2, 3))
    assert [p.requires_grad for p in (layer.weight, layer.bias, layer.r, layer.s)] == [
        False,
        True,
        True,
        True,
    ]
    assert set(dict(plain.named_parameters())) == {"weight", "bias"}  # it did not become another
    layer(torch.rand(2, 2, 4, 4))
    assert calls == [1]


def test_fast_weights_start_as_the_paper_says():
    torch.manual_seed(0)
    normal = batch_ensemble(nn.Linear(400, 600), 4).network
    for weight, shape in ((normal.r, (4, 600)), (normal.s, (4, 400))):
        assert weight.shape == shape
        assert weight.mean().item() == pytest.approx(1, abs=0.05)
        assert weight.std().item() == pytest.approx(0.5, abs=0.03)
    sign = batch_ensemble(nn.Linear(400, 600), 4, init="sign").network
    for weight in (sign.r, sign.s):
        assert set(weight.unique().tolist()) == {-1.0, 1.0}
        assert abs(weight.mean().item()) < 0.1


def test_starts_follow_torchs_generator():
    plain = nn.Linear(4, 4)

    def drawn(seed):
        torch.manual_seed(seed)
        return batch_ensemble(copy.deepcopy(plain), 2).network.s

    assert torch.equal(drawn(5), drawn(5))
    assert not torch.equal(drawn(5), drawn(6))


def test_layouts_are_kept():
    """Maps and their gradients stay channels_last: no layer turns them over."""
    layer = batch_ensemble(nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last), 2).network
    x = torch.rand(6, 4, 8, 8).to(memory_format=torch.channels_last).requires_grad_()
    y = layer(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    assert gradient.is_contiguous(memory_format=torch.channels_last)
    assert layer.weights()[1].is_contiguous(memory_format=torch.channels_last)


def test_copied_and_pickled():
    ensemble = batch_ensemble(of("resnet8"), 2).eval()
    x = torch.rand(2, 3, 32, 32)
    for copied in (copy.deepcopy(ensemble), pickle.loads(pickle.dumps(ensemble))):
        assert torch.equal(copied(x), ensemble(x))


def test_a_batch_that_members_cannot_share():
    layer = batch_ensemble(nn.Linear(2, 2), 3).network
    with pytest.raises(ValueError, match="a batch of 4 cannot be shared by 3 members"):
        layer(torch.rand(4, 2))


class Raw(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))


class Doubling(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def inside(layer):
    return nn.Sequential(nn.Linear(2, 2), nn.Sequential(layer))


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (lambda: nn.MultiheadAttention(4, 2), "MultiheadAttention"),
        (lambda: nn.ConvTranspose2d(2, 2, 2), "ConvTranspose2d"),
        (lambda: nn.LSTM(2, 2), "LSTM"),
        (lambda: nn.Embedding(2, 2), "Embedding"),
        (lambda: nn.Bilinear(2, 2, 2), "Bilinear"),
        (lambda: Doubling(2, 2), "Doubling"),
        (lambda: nn.LazyLinear(2), "LazyLinear"),
        (lambda: parametrizations.weight_norm(nn.Linear(2, 2)), "ParametrizedLinear"),
        (lambda: nn.utils.spectral_norm(nn.Linear(2, 2)), "Linear"),
        (Raw, "Raw"),
    ],
)
def test_layers_that_members_cannot_share(layer, kind):
    network = inside(layer())
    with pytest.raises(ConfigError) as caught:
        batch_ensemble(network, 2, flag="--student")
    told = str(caught.value)
    assert told.startswith("--student cannot be a batch ensemble: module '1.0")
    assert f"is a {kind} with parameters of its own" in told
    assert "\n" not in told
    assert type(network[0]) is nn.Linear  # nothing was changed


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm2d(2), nn.SyncBatchNorm(2), nn.InstanceNorm2d(2, affine=True),
        nn.GroupNorm(1, 2), nn.LayerNorm(2), nn.RMSNorm(2), nn.PReLU(2),
    ],
)  # fmt: skip
def test_layers_that_members_share_as_they_are(layer):
    network = inside(layer)
    batch_ensemble(network, 2)
    assert network[1][0] is layer


def test_networks_that_are_none():
    with pytest.raises(ConfigError, match="--model is a Flatten without a convolution or linear"):
        batch_ensemble(nn.Flatten(), 2)
    with pytest.raises(ConfigError, match=r"--model asks for 1 members; .* 2 or more"):
        batch_ensemble(nn.Linear(2, 2), 1)
    with pytest.raises(ConfigError, match="the network itself is a Raw"):
        batch_ensemble(Raw(), 2)
