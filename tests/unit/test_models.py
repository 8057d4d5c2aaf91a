"""From names to students: seeds, one's own factories, and every sentence a user may get."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from cohort.errors import ConfigError
from cohort.imports import import_object, import_path
from cohort.models.families import known_networks
from cohort.models.normalised import Normalised
from cohort.models.registry import build_network, build_student, check_network
from cohort.models.resnet import ResNet
from cohort.models.wide_resnet import WideResNet

CIFAR = (3, 32, 32)
DIGITS = (1, 8, 8)

FACTORIES = """
from torch import nn

class Nets:
    @staticmethod
    def linear(num_classes, image_shape):
        c, h, w = image_shape
        return nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, num_classes))

def lazy(num_classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))

def forwarding(num_classes, **kwargs):
    assert not kwargs
    return lazy(num_classes)

def ten(num_classes):
    return lazy(num_classes + 1)

def scalar(num_classes):
    class Sum(nn.Module):
        def forward(self, x):
            return 0.0
    return Sum()

def failing(num_classes):
    raise RuntimeError("first line\\nsecond line")

def text(num_classes):
    return "resnet20"

number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A module ``own_nets`` in the current directory, forgotten afterwards."""
    (tmp_path / "own_nets.py").write_text(FACTORIES)
    (tmp_path / "own_broken.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("own_nets", None)


def build(spec, *, num_classes=10, image_shape=CIFAR, **flag) -> nn.Module:
    return build_network(spec, num_classes=num_classes, image_shape=image_shape, **flag)


def student(spec="resnet8", *, seed=0, number=0, **flag) -> Normalised:
    return build_student(
        spec,
        num_classes=10,
        image_shape=DIGITS,
        mean=(0.3,),
        std=(0.4,),
        seed=seed,
        student=number,
        **flag,
    )


def equal(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


# Normalised


def test_normalised_by_hand():
    model = Normalised(nn.Identity(), mean=(0.5, 0.25), std=(0.5, 0.125))
    x = torch.tensor([0.0, 1.0, 0.25, 0.5]).reshape(1, 2, 1, 2)
    assert model(x).flatten().tolist() == [-1.0, 1.0, 0.0, 2.0]
    assert set(model.state_dict()) == {"scale", "offset"}


# Seeds


def test_a_student_is_a_function_of_seed_and_number():
    torch.manual_seed(1)
    first = student(seed=3, number=1)
    torch.manual_seed(2)
    assert equal(first, student(seed=3, number=1))
    assert not equal(first, student(seed=3, number=0))
    assert not equal(first, student(seed=4, number=1))


def test_the_callers_random_state_is_untouched():
    before = torch.get_rng_state()
    student()
    assert torch.equal(before, torch.get_rng_state())


def test_a_student_normalises_and_trains():
    model = student()
    assert model.training
    x = torch.rand(2, *DIGITS)
    model.eval()
    torch.testing.assert_close(model(x), model.network((x - 0.3) / 0.4))


# The check


def test_the_check_leaves_modes_and_statistics_alone():
    network = build("resnet8")
    network.stem_bn.eval()
    modes = [module.training for module in network.modules()]
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    check_network(network, 10, CIFAR, "resnet8")
    assert [module.training for module in network.modules()] == modes
    assert network.training
    assert not network.stem_bn.training
    assert all(torch.equal(value, buffers[name]) for name, value in network.named_buffers())
    assert all(p.grad is None for p in network.parameters())


def test_the_check_restores_modes_after_a_failure():
    network = build("resnet8")
    with pytest.raises(ConfigError, match="failed on images"):
        check_network(network, 10, DIGITS, "resnet8")
    assert all(module.training for module in network.modules())


# One's own and torchvision's


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("name", ["Nets.linear", "lazy", "forwarding"])
def test_own_factory(name):
    network = build(f"own_nets:{name}", num_classes=4, image_shape=DIGITS)
    assert network(torch.zeros(5, *DIGITS)).shape == (5, 4)


def test_a_callable_is_a_factory():
    def factory(*, num_classes):
        return ResNet(8, num_classes=num_classes)

    assert isinstance(build(factory), ResNet)


@pytest.mark.usefixtures("own")
def test_lazy_layers_are_initialised_from_the_seed():
    assert equal(student("own_nets:lazy"), student("own_nets:lazy"))


@pytest.mark.parametrize(
    ("name", "side"),
    [
        *[("mobilenet_v3_small", 64), ("googlenet", 64), ("shufflenet_v2_x0_5", 64)],
        *[("squeezenet1_1", 64), ("mnasnet0_5", 64), ("alexnet", 64), ("efficientnet_b0", 64)],
        *[("resnet18", 224), ("mobilenet_v3_small", 224)],
    ],
)
def test_torchvision_network(name, side):
    network = build(name, num_classes=6, image_shape=(3, side, side))
    assert network.training
    assert network(torch.rand(2, 3, side, side)).shape == (2, 6)  # a tensor in training mode too


# Sentences


def test_known_networks():
    assert known_networks()[:2] == ("resnet8", "resnet20")
    assert {
        "resnet18",
        "resnet152",
        "resnext<depth>_<cardinality>x<width>d",
        "wrn_<depth>_<width>",
        "pyramidnet_<depth>_<alpha>",
        "pyramidnet_<depth>_<alpha>_bottleneck",
        "vgg11_bn",
        "vgg19_bn",
        "mobilenet",
        "inception_v1",
    } < set(known_networks())


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("spec", "image_shape", "parts"),
    [
        (
            "Restnet20",
            CIFAR,
            ["'Restnet20' (did you mean 'resnet20'?)", "inception_v1", "torchvision"],
        ),
        ("zzz", CIFAR, ["is 'zzz'; it must be resnet8,"]),
        ("fcn_resnet50", CIFAR, ["is 'fcn_resnet50'", "torchvision classifier"]),
        ("wrn_27_10", CIFAR, ["'wrn_27_10'", "27", "6n + 4", "6n + 2"]),
        ("wrn_16_0", CIFAR, ["'wrn_16_0'", "width", "1 or greater"]),
        ("resnext30_8x64d", CIFAR, ["'resnext30_8x64d'", "is 30", "50, 101 or 152, or 9n + 2"]),
        ("resnext2_8x64d", CIFAR, ["'resnext2_8x64d'", "is 2;", "n >= 1"]),
        ("resnext29_0x64d", CIFAR, ["'resnext29_0x64d'", "0x64d", "1 or greater"]),
        ("resnext29_8x0d", CIFAR, ["'resnext29_8x0d'", "8x0d", "1 or greater"]),
        ("pyramidnet_101_84", CIFAR, ["'pyramidnet_101_84'", "basic blocks is 101", "6n + 2"]),
        ("pyramidnet_111_84_bottleneck", CIFAR, ["bottlenecks is 111", "9n + 2"]),
        ("pyramidnet_110_0", CIFAR, ["'pyramidnet_110_0'", "alpha", "1 or greater"]),
        ("pyramidnet_110-84", CIFAR, ["did you mean 'pyramidnet_110_84'?"]),
        ("resnext29_8x64", CIFAR, ["did you mean 'resnext29_8x64d'?"]),
        ("ResNet152", CIFAR, ["did you mean 'resnet152'?"]),
        ("vgg16bn", CIFAR, ["did you mean 'vgg16_bn'?"]),
        ("mobilenet", (1, 8, 20), ["shrinks images 16 times", "these are 8x20", "at least 16x16"]),
        ("shufflenet_v2_x0_5", DIGITS, ["'shufflenet_v2_x0_5'", "3 channels", "have 1", "resnet8"]),
        ("alexnet", CIFAR, ["'alexnet'", "failed on images of shape (3, 32, 32)", "another size"]),
        ("own_nets:", CIFAR, ["'own_nets:'", "package.module:function"]),
        ("a:b:c", CIFAR, ["'a:b:c'", "package.module:function"]),
        ("no_such_nets:f", CIFAR, ["importing no_such_nets failed", "No module named"]),
        ("own_broken:f", CIFAR, ["importing own_broken failed", "no_such_module_anywhere"]),
        ("own_nets:nothing", CIFAR, ["module own_nets has no 'nothing'"]),
        ("own_nets:number", CIFAR, ["'own_nets:number', which is of type int", "function"]),
        ("own_nets:failing", CIFAR, ["called with num_classes=10: RuntimeError: first line"]),
        ("own_nets:text", CIFAR, ["returned something of type str", "torch.nn.Module"]),
        ("own_nets:ten", CIFAR, ["gave [2, 11] for images [2, 3, 32, 32]", "[2, 10]"]),
        ("own_nets:scalar", CIFAR, ["gave float", "[2, 10]"]),
    ],
)
def test_every_failure_is_one_sentence(spec, image_shape, parts):
    with pytest.raises(ConfigError) as caught:
        build(spec, image_shape=image_shape)
    message = str(caught.value)
    assert message.startswith("--students is ")
    assert "\n" not in message
    for part in parts:
        assert part in message
    with pytest.raises(ConfigError) as caught:
        build(spec, image_shape=image_shape, flag="--model")
    assert str(caught.value) == message.replace("--students", "--model", 1)


def test_an_image_must_be_as_large_as_the_stride():
    with pytest.raises(ConfigError) as caught:
        build("vgg16_bn", image_shape=DIGITS)
    assert str(caught.value) == (
        "--students is 'vgg16_bn', which shrinks images 32 times, but these are 8x8; "
        "images must be at least 32x32, or take another network"
    )


def test_a_student_names_the_flag_it_is_given():
    with pytest.raises(ConfigError, match=r"^--model is 'zzz'"):
        student("zzz", flag="--model")


def test_the_check_names_the_flag_it_is_given():
    with pytest.raises(ConfigError, match=r"^--model is 'mine', which gave \[2, 192\]"):
        check_network(nn.Flatten(), 10, (3, 8, 8), "mine", flag="--model")


def test_a_callables_name_stands_in_the_sentence():
    with pytest.raises(ConfigError, match=r"--students is .*broken_factory, which failed"):
        build(broken_factory)
    with pytest.raises(ConfigError, match="is ResNet, which is of type ResNet; it must be"):
        build(ResNet(8, num_classes=10))


def broken_factory(num_classes):
    raise RuntimeError


# Imports


@pytest.mark.usefixtures("own")
def test_import_object_names_the_flag_it_is_given():
    assert import_object("own_nets:number", "--dataset") == 3
    with pytest.raises(ConfigError, match=r"^--dataset is 'own_nets:no'"):
        import_object("own_nets:no", "--dataset")


def test_import_path_round_trips():
    path = import_path(build_network)
    assert path == "cohort.models.registry:build_network"
    assert import_object(path, "--students") is build_network
    assert import_path(WideResNet) == "cohort.models.wide_resnet:WideResNet"


def test_import_path_of_what_cannot_be_imported(monkeypatch):
    def local():
        pass

    def main():
        pass

    main.__qualname__ = "main"
    main.__module__ = "__main__"
    monkeypatch.setattr(sys.modules["__main__"], "main", main, raising=False)
    stale = type(main)(main.__code__, {}, "build_network")
    stale.__module__ = "cohort.models.registry"
    for obj in (lambda: None, local, main, stale, nn.Identity(), 3):
        assert import_path(obj) is None
