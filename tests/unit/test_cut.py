"""A cut network is the network: same function, same modules; and every sentence of a refusal."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock
from torchvision.models.resnet import ResNet as TorchvisionResNet

from cohort.errors import ConfigError
from cohort.models.cut import cut, default_places
from cohort.models.registry import build_network
from tests.support import exits

SHAPE = (3, 16, 16)
TINY = ("body.0", "body.1")


def torchvision_resnet(num_classes, image_shape):
    return TorchvisionResNet(BasicBlock, [1, 1, 1, 1], num_classes=num_classes)


NETWORKS = [
    ("resnet8", ("stages.0", "stages.1")),
    ("resnet20", ("stem_bn", "stages.0.1", "stages.2.1", "stages")),
    ("wrn_10_1", ("stages.0", "stages.1", "stages.2")),
    ("mobilenet", ("features.3", "features.8")),
    (torchvision_resnet, ("layer1", "layer2", "layer3")),
    (exits.Tiny, TINY),
    (exits.Root, TINY),
    (exits.Twice, ("body.0",)),
    (exits.OpaqueHead, TINY),
]
IDS = [spec if isinstance(spec, str) else spec.__name__ for spec, _ in NETWORKS]


def build(spec, image_shape=SHAPE):
    return build_network(spec, num_classes=5, image_shape=image_shape)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def outputs_and_gradients(network, call, images):
    torch.manual_seed(1)  # dropout
    logits = call(images)
    logits.square().sum().backward()
    return [logits, *(p.grad for p in network.parameters())]


@pytest.mark.parametrize(("spec", "places"), NETWORKS, ids=IDS)
def test_it_is_the_same_function_in_both_modes(spec, places):
    network = build(spec)
    plain = copy.deepcopy(network)
    made = cut(network, places, SHAPE, spec)
    assert made.places == places
    for _ in range(2):  # the second time with statistics that have moved
        images = torch.randn(4, *SHAPE)
        ours = outputs_and_gradients(network, made, images)
        assert same(ours, outputs_and_gradients(plain, plain, images))
        assert same(network.state_dict().values(), plain.state_dict().values())
    made.eval(), plain.eval()
    assert torch.equal(made(images), plain(images))
    maps, logits = made.with_maps(images)
    assert torch.equal(logits, plain(images))
    assert same(maps, maps_by_hooks(plain, places, images))


def maps_by_hooks(network, places, images):
    seen = {}
    for place in places:
        network.get_submodule(place).register_forward_hook(
            lambda module, inputs, output, place=place: seen.update({place: output})
        )
    network(images)
    return [seen[place] for place in places]


@pytest.mark.parametrize(("spec", "places"), NETWORKS, ids=IDS)
def test_every_parameter_and_buffer_is_the_networks_own(spec, places):
    network = build(spec)
    before = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    made = cut(network, places, SHAPE, spec)
    assert modes == [module.training for module in network.modules()]
    assert not any(module._forward_hooks for module in network.modules())
    for ours, theirs in (
        (made.parameters(), network.parameters()),
        (made.buffers(), network.buffers()),
    ):
        assert {id(tensor) for tensor in ours} == {id(tensor) for tensor in theirs}
    assert same(before.values(), network.state_dict().values())


def test_a_frozen_module_stays_frozen():
    network = build(exits.Tiny)
    network.body[1].eval()
    cut(network, TINY, SHAPE, "tiny")
    assert network.training
    assert not network.body[1][1].training


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("spec", ["wrn_10_1", exits.Root])
def test_copies_are_independent_and_equal(again, spec):
    made = cut(build(spec), dict(NETWORKS)[spec], SHAPE, spec).eval()
    images = torch.randn(2, *SHAPE)
    expected = made(images)
    copied = again(made)
    assert torch.equal(copied(images), expected)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
    assert torch.equal(copied(images), expected)


@pytest.mark.parametrize("spec", ["wrn_10_1", exits.Root])
def test_the_state_dict_makes_a_round_trip(spec):
    first, second = (cut(build(spec), dict(NETWORKS)[spec], SHAPE, spec) for _ in range(2))
    images = torch.randn(2, *SHAPE)
    assert not torch.equal(first.eval()(images), second.eval()(images))
    assert second.load_state_dict(first.state_dict()).missing_keys == []
    assert torch.equal(first(images), second(images))


def test_other_batches_and_sizes_go_through():
    made = cut(build("resnet8"), ("stages.0",), SHAPE, "resnet8")
    assert made(torch.rand(7, 3, 20, 12)).shape == (7, 5)


def test_default_places():
    assert default_places(build(exits.Tiny)) == TINY
    assert default_places(torchvision_resnet(5, SHAPE)) == ("layer1", "layer2", "layer3")
    assert default_places(build(exits.Silent)) is None
    assert default_places(nn.Linear(3, 3)) is None


REFUSED = [
    (exits.Tiny, ("body.9",), r"it has no module 'body\.9'; did you mean 'body\.\d"),
    (
        exits.Tiny,
        ("qqq",),
        r"its modules are body, body\.0, body\.1, body\.2, dropout, classifier$",
    ),
    (exits.Tiny, ("",), "it has no module ''"),
    (exits.Tiny, (), "an exit needs a place; its modules are body"),
    (exits.Tiny, ("body.0", "body.1", "body.0"), r"body\.0 is named twice"),
    (exits.Tiny, ("body.1", "body.0"), r"another order; write body\.0/body\.1$"),
    (exits.Tiny, ("dropout",), r"dropout gives \[2, 8\]; it must give a map"),
    (exits.Tiny, ("classifier",), r"classifier gives \[2, 5\]; it must give a map"),
    (exits.Around, ("body.0",), r"what comes after body\.0 also reads what came before it"),
    (exits.Size, ("body.0",), r"what comes after body\.0 also reads what came before it"),
    (exits.Unused, ("spare",), "spare is called 0 times"),
    (exits.Twice, ("same",), "same is called 2 times"),
    (exits.Overwriting, ("body.0",), r"the layer after body\.0 overwrites its map in place"),
    (exits.Softmax, ("body.0",), "its last layer is not a classifier"),
    (exits.ReadsMap, ("body.0",), "its last layer is not a classifier"),
    (exits.FunctionalDropout, ("body.0",), r"nn\.Dropout instead of F\.dropout"),
    (exits.Branching, ("body.0",), "torch.fx cannot trace it: TraceError"),
]


@pytest.mark.parametrize(("factory", "places", "why"), REFUSED)
def test_a_refusal_is_one_sentence(factory, places, why):
    network = build(factory)
    with pytest.raises(ConfigError, match=why) as caught:
        cut(network, places, SHAPE, "mine", "--students")
    after = "/".join(places) or "nothing"
    assert str(caught.value).startswith(f"--students puts exits after {after} in mine, but ")
    assert "\n" not in str(caught.value)
    assert not any(module._forward_hooks for module in network.modules())


def test_a_network_without_linear_layers():
    network = nn.Sequential(nn.Conv2d(3, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ConfigError, match="--exits puts exits after 0 in mine, but its last layer"):
        cut(network, ("0",), SHAPE, "mine")


def test_only_what_stands_between_places_must_be_traceable():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = build(exits.Branching)

        def forward(self, x):
            return self.inner(x)

    with pytest.raises(ConfigError, match="cannot trace"):
        cut(Outer(), ("inner.body.0",), SHAPE, "outer")
    assert cut(build(exits.OpaqueHead), ("body.0",), SHAPE, "opaque").places == ("body.0",)
