"""Our networks train, start as the papers say, and their parts do what they should."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cohort.models.deep_resnet import BasicBlock, Bottleneck, DeepResNet
from cohort.models.layers import initialise_convolutions
from cohort.models.pyramidnet import PyramidBlock
from cohort.models.registry import build_network
from cohort.models.resnet import ResNet, shortcut
from cohort.models.vgg import VGG
from cohort.models.wide_resnet import WideResNet

CIFAR = (3, 32, 32)
DIGITS = (1, 8, 8)

SMALL = [
    "resnet8",
    "wrn_8_1",
    "resnet18",
    "resnext11_2x8d",
    "pyramidnet_8_9",
    "pyramidnet_11_9_bottleneck",
]
"""A small member of each family whose members can be small, and which takes images of 8x8."""
FAMILIES = [*SMALL, "vgg11_bn", "mobilenet", "inception_v1"]
SMALLEST_IMAGES = [
    *[(name, DIGITS) for name in SMALL],
    ("inception_v1", DIGITS),
    ("mobilenet", (1, 32, 32)),
    ("vgg11_bn", (1, 32, 32)),
]
"""Every family, with images as small as it takes."""


def build(name, *, num_classes=10, image_shape=CIFAR) -> nn.Module:
    return build_network(name, num_classes=num_classes, image_shape=image_shape)


# Training


@pytest.mark.parametrize(("name", "image_shape"), SMALLEST_IMAGES)
def test_two_steps_of_sgd_reach_every_parameter_and_lower_the_loss(name, image_shape):
    torch.manual_seed(0)
    network = build(name, num_classes=3, image_shape=image_shape)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    x_BCHW, labels_B = torch.rand(4, *image_shape), torch.tensor([0, 1, 2, 0])
    losses = []
    for _ in range(3):
        loss = F.cross_entropy(network(x_BCHW), labels_B)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
        assert all(p.grad.any() for p in network.parameters())
    assert losses[2] < losses[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_for_a_size_that_is_not_a_power_of_two(name):
    network = build(name, num_classes=7, image_shape=(3, 36, 44))
    assert network(torch.rand(2, 3, 36, 44)).shape == (2, 7)


@pytest.mark.parametrize("name", ["resnet8", "wrn_10_2", "mobilenet", "inception_v1"])
@pytest.mark.parametrize("image_shape", [CIFAR, (3, 20, 28)])
def test_logits_and_gradients_for_any_image_size(name, image_shape):
    network = build(name, num_classes=7, image_shape=image_shape)
    logits = network(torch.rand(2, *image_shape))
    assert logits.shape == (2, 7)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize(("name", "image_shape"), SMALLEST_IMAGES)
def test_bf16_autocast_trains(name, image_shape):
    network = build(name, image_shape=image_shape)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(torch.rand(2, *image_shape))
    logits.float().sum().backward()
    assert all(p.dtype == torch.float32 and p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("groups", [1, 64])
def test_convolutions_start_with_kaiming_fan_out(groups):
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 64, 3, groups=groups)
    initialise_convolutions(nn.Sequential(conv))
    fan_out = 9 * 64 / groups
    assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)


@pytest.mark.parametrize("name", ["resnet18", "resnext29_4x16d", "pyramidnet_20_48", "vgg11_bn"])
def test_every_convolution_and_norm_starts_as_the_papers_say(name):
    torch.manual_seed(0)
    for module in build(name).modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.eq(1).all()
            assert module.bias.eq(0).all()
        elif isinstance(module, nn.Conv2d):
            fan_out = module.out_channels // module.groups * module.kernel_size[0] ** 2
            std = (2 / fan_out) ** 0.5
            assert module.weight.std().item() == pytest.approx(std, rel=0.15)
            assert module.bias is None


# Parts


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


@pytest.mark.parametrize("bottleneck", [False, True])
def test_pyramids_shortcut_averages_and_pads_channels(bottleneck):
    block = PyramidBlock(2, 3, stride=2, bottleneck=bottleneck)
    nn.init.zeros_(block.residual[-1][1].weight)  # the last norm: nothing but the shortcut is left
    x = torch.arange(18.0).reshape(1, 2, 3, 3)
    y = block(x)
    assert y.shape == (1, 12 if bottleneck else 3, 2, 2)
    assert y[0, 0].tolist() == [[2.0, 3.5], [6.5, 8.0]]  # windows at the edge hold fewer pixels
    assert y[0, 1].tolist() == [[11.0, 12.5], [15.5, 17.0]]
    assert not y[:, 2:].any()


def test_a_grouped_bottleneck_by_hand():
    block = Bottleneck(64, 128, stride=2, groups=8, base_width=4)
    shapes = [tuple(m.weight.shape) for m in block.modules() if isinstance(m, nn.Conv2d)]
    assert shapes == [(64, 64, 1, 1), (64, 8, 3, 3), (512, 64, 1, 1), (512, 64, 1, 1)]
    assert block(torch.rand(2, 64, 6, 6)).shape == (2, 512, 3, 3)


def test_networks_that_do_not_exist():
    with pytest.raises(ValueError, match=r"6n \+ 2"):
        ResNet(18, num_classes=10)
    with pytest.raises(ValueError, match=r"width .* is 0"):
        WideResNet(10, 0, num_classes=10)
    with pytest.raises(ValueError, match="11, 13, 16 or 19"):
        VGG(12, num_classes=10)
    with pytest.raises(ValueError, match="no groups"):
        DeepResNet((1, 1), BasicBlock, num_classes=10, image_shape=CIFAR, groups=2)
