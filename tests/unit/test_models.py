"""Networks: published sizes, seeds, one's own factories, and every sentence a user may get."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from cohort.errors import ConfigError
from cohort.imports import import_object, import_path
from cohort.models import (
    Normalised,
    build_network,
    build_student,
    check_network,
    known_networks,
)
from cohort.models.layers import initialise_convolutions
from cohort.models.resnet import ResNet, shortcut
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


def build(spec, *, num_classes=10, image_shape=CIFAR) -> nn.Module:
    return build_network(spec, num_classes=num_classes, image_shape=image_shape)


def student(spec="resnet8", *, seed=0, number=0) -> Normalised:
    return build_student(
        spec,
        num_classes=10,
        image_shape=DIGITS,
        mean=(0.3,),
        std=(0.4,),
        seed=seed,
        student=number,
    )


def equal(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


# Sizes


@pytest.mark.parametrize(
    ("name", "num_classes", "count", "published"),
    [
        ("resnet20", 10, 269_722, 0.27),  # He et al., Table 6
        ("resnet32", 10, 464_154, 0.46),
        ("resnet44", 10, 658_586, 0.66),
        ("resnet56", 10, 853_018, 0.85),
        ("resnet110", 10, 1_727_962, 1.7),
        ("wrn_16_8", 10, 10_961_370, 11.0),  # Zagoruyko & Komodakis, Table 4
        ("wrn_40_4", 10, 8_949_210, 8.9),
        ("wrn_28_10", 10, 36_479_194, 36.5),
        ("resnet32", 100, 470_004, 0.5),  # Deep Mutual Learning, Table 1
        ("mobilenet", 100, 3_309_476, 3.3),
        ("inception_v1", 100, 7_786_596, 7.8),
        ("wrn_28_10", 100, 36_536_884, 36.5),
    ],
)
def test_parameter_counts_are_the_published_ones(name, num_classes, count, published):
    with torch.device("meta"):
        network = build(name, num_classes=num_classes)
    assert sum(p.numel() for p in network.parameters()) == count
    decimals = len(str(published).split(".")[1])
    assert round(count / 1e6, decimals) == published


@pytest.mark.parametrize("name", ["resnet8", "resnet20", "wrn_10_2", "mobilenet", "inception_v1"])
@pytest.mark.parametrize("image_shape", [CIFAR, DIGITS, (3, 20, 28)])
def test_logits_and_gradients_for_any_image_size(name, image_shape):
    network = build(name, num_classes=7, image_shape=image_shape)
    logits = network(torch.rand(3, *image_shape))
    assert logits.shape == (3, 7)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", ["resnet8", "wrn_10_1", "mobilenet", "inception_v1"])
def test_bf16_autocast_trains(name):
    network = build(name, image_shape=DIGITS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(torch.rand(2, *DIGITS))
    logits.float().sum().backward()
    assert all(p.dtype == torch.float32 and p.grad is not None for p in network.parameters())


def test_inception_averages_large_images_down_to_four_by_four():
    with torch.device("meta"):
        small, large = (build("inception_v1", image_shape=(3, n, n)) for n in (32, 64))
    assert small.classifier.in_features == large.classifier.in_features == 1024 * 16


def test_shortcut_subsamples_and_pads_channels():
    x = torch.arange(32.0).reshape(1, 2, 4, 4)
    y = shortcut(x, channels=4, stride=2)
    assert y.shape == (1, 4, 2, 2)
    assert torch.equal(y[:, 1:3], x[:, :, ::2, ::2])
    assert not y[:, [0, 3]].any()
    assert shortcut(x, channels=2, stride=1) is x


@pytest.mark.parametrize("groups", [1, 64])
def test_convolutions_start_with_kaiming_fan_out(groups):
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 64, 3, groups=groups)
    initialise_convolutions(nn.Sequential(conv))
    fan_out = 9 * 64 / groups
    assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)


def test_depths_that_do_not_exist():
    with pytest.raises(ValueError, match=r"6n \+ 2"):
        ResNet(18, num_classes=10)
    with pytest.raises(ValueError, match=r"width .* is 0"):
        WideResNet(10, 0, num_classes=10)


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


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "googlenet"])
def test_torchvision_network(name):
    network = build(name, num_classes=6, image_shape=(3, 64, 64))
    assert network.training
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 6)  # a tensor in training mode too


def test_neither_ray_nor_torchvision_is_imported_for_our_own():
    code = (
        "import sys; from cohort.models import build_network, known_networks; known_networks();"
        "build_network('resnet8', num_classes=10, image_shape=(1, 8, 8));"
        "sys.exit('ray' in sys.modules or 'torchvision' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# Sentences


def test_known_networks():
    assert known_networks()[:2] == ("resnet8", "resnet20")
    assert {"mobilenet", "inception_v1", "wrn_<depth>_<width>"} < set(known_networks())


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("spec", "image_shape", "parts"),
    [
        (
            "Restnet20",
            CIFAR,
            ["'Restnet20' (did you mean resnet20?)", "inception_v1", "torchvision"],
        ),
        ("zzz", CIFAR, ["is 'zzz'; it must be resnet8,"]),
        ("fcn_resnet50", CIFAR, ["is 'fcn_resnet50'", "torchvision classifier"]),
        ("wrn_27_10", CIFAR, ["'wrn_27_10'", "27", "6n + 4"]),
        ("wrn_16_0", CIFAR, ["'wrn_16_0'", "width", "1 or greater"]),
        ("resnet18", DIGITS, ["'resnet18'", "3 channels", "have 1", "resnet8"]),
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
