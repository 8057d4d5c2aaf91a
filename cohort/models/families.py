"""Our own networks by name. Shapes: images (C, H, W)."""

import re
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch

from cohort.errors import ConfigError, brief
from cohort.machine import gib, memory
from cohort.models.deep_resnet import RESNETS, deep_resnet, resnext
from cohort.models.inception_v1 import InceptionV1
from cohort.models.layers import Backbone
from cohort.models.mobilenet import MobileNet
from cohort.models.modules import count_parameters
from cohort.models.pyramidnet import PyramidNet
from cohort.models.resnet import ResNet
from cohort.models.vgg import CONVOLUTIONS, VGG
from cohort.models.wide_resnet import WideResNet

ImageShape = tuple[int, int, int]
Builder = Callable[..., Backbone]
"""Called with a name's numbers in order, and with ``num_classes`` and ``image_shape``."""


def by_channels(network: Callable[..., Backbone], **options: Any) -> Builder:
    """A ``Builder`` of a network that asks for the channels of the images, not for their size."""

    def build(*numbers: int, num_classes: int, image_shape: ImageShape) -> Backbone:
        return network(*numbers, num_classes=num_classes, in_channels=image_shape[0], **options)

    return build


FAMILIES: dict[str, Builder] = {
    **{f"resnet{n}": partial(by_channels(ResNet), n) for n in (8, 20, 32, 44, 56, 110)},
    **{f"resnet{n}": partial(deep_resnet, n) for n in RESNETS},
    "resnet<depth>_w<width>": deep_resnet,
    "resnext<depth>_<cardinality>x<width>d": resnext,
    "wrn_<depth>_<width>": by_channels(WideResNet),
    "wrn_<depth>_<width>_ods": by_channels(WideResNet, of_ods=True),
    "pyramidnet_<depth>_<alpha>": by_channels(PyramidNet),
    "pyramidnet_<depth>_<alpha>_bottleneck": by_channels(PyramidNet, bottleneck=True),
    **{f"vgg{n}_bn": partial(by_channels(VGG), n) for n in CONVOLUTIONS},
    "mobilenet": by_channels(MobileNet),
    "mobilenet_v1": by_channels(MobileNet, stem_stride=2),
    "inception_v1": InceptionV1,
}
"""Names to builders; what stands in angle brackets is a number."""

MOST_DIGITS = 4
"""Of a number in a name: to count the layers of deeper networks would take memory itself."""

EXAMPLES = (
    "resnet18_w16",
    "resnext29_8x64d",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "wrn_28_10",
    "wrn_28_10_ods",
    "pyramidnet_110_84",
    "pyramidnet_101_240_bottleneck",
)
"""Members of families whose names have numbers, for "did you mean"."""


def known_networks() -> tuple[str, ...]:
    """Names of our own networks, for messages and ``--help``."""
    return tuple(FAMILIES)


def close_names() -> tuple[str, ...]:
    """Names that a misspelt one may have meant."""
    return (*(name for name in FAMILIES if "<" not in name), *EXAMPLES)


def build_own(
    name: str, num_classes: int, image_shape: ImageShape, *, flag: str
) -> Backbone | None:
    """Our network of that name, or None if we have none.

    Raises:
        ConfigError: one sentence, if its numbers make no network or the images are too small.
    """
    for family, builder in FAMILIES.items():
        match = re.fullmatch(re.sub("<[a-z]+>", r"(\\d+)", family), name, re.ASCII)
        if match is None:
            continue
        if any(len(digits.lstrip("0")) > MOST_DIGITS for digits in match.groups()):
            raise ConfigError(
                f"{flag} is {brief(name)}; a number in the name of a network is less than "
                f"{10**MOST_DIGITS}"
            )
        numbers = tuple(int(digits) for digits in match.groups())
        try:
            if numbers:  # other names are of networks that fit everywhere
                _check_memory(family, numbers, num_classes, image_shape)
            network = builder(*numbers, num_classes=num_classes, image_shape=image_shape)
        except ValueError as error:
            raise ConfigError(f"{flag} is {name!r}, but {error}") from error
        check_size(network, image_shape, name, flag=flag)
        return network
    return None


@cache
def _check_memory(
    family: str, numbers: tuple[int, ...], num_classes: int, image_shape: ImageShape
) -> None:
    """Raise ValueError for a network whose weights do not fit into memory, before they take any."""
    with torch.device("meta"):
        network = FAMILIES[family](*numbers, num_classes=num_classes, image_shape=image_shape)
    size, there = 4 * count_parameters(network), memory()
    if size > there:
        raise ValueError(
            f"its weights take {gib(size)}, and this machine has {gib(there)} of memory; take a smaller one"
        )


def check_size(network: Backbone, image_shape: ImageShape, name: str, *, flag: str) -> None:
    """Raise ConfigError if nothing is left of an image when the network has shrunk it."""
    stride, (_, height, width) = network.stride, image_shape
    if min(height, width) < stride:
        raise ConfigError(
            f"{flag} is {name!r}, which shrinks images {stride} times, but these are "
            f"{height}x{width}; images must be at least {stride}x{stride}, or take another network"
        )
