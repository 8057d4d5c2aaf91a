"""A network with exits: Be Your Own Teacher — Zhang et al., ICCV 2019 (arXiv 1905.08094), section 3.

The network is cut into sections; after each but the last a branch, the bottleneck of the paper's
Fig. 2, turns the map into features of the deepest exit's size, which a classifier of its own reads.
The deepest exit is the network itself.

Shapes: B batch, C classes, E exits, F features of the deepest exit; a map is [B, C_i, H_i, W_i].
"""

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cohort.errors import ConfigError
from cohort.models.cut import CutNetwork, cut, last_place
from cohort.models.layers import initialise_convolutions
from cohort.models.modules import in_mode

LARGEST_STRIDE = 8
Size = tuple[int, int]


class ExitOutputs(NamedTuple):
    """Logits and features of every exit, shallowest first."""

    logits: tuple[Tensor, ...]
    """Logits of every exit, E x [B, C]."""
    features: tuple[Tensor, ...]
    """What each exit's classifier reads, E x [B, F]."""


class MultiExit(nn.Module):
    """A network with E exits, numbered 1 to E from the shallowest to the deepest."""

    def __init__(self, network: CutNetwork, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        deepest = network.classifier
        shallow = [nn.Linear(deepest.in_features, deepest.out_features) for _ in branches]
        self.sections = network.sections
        self.branches = nn.ModuleList(branches)
        self.classifiers = nn.ModuleList([*shallow, deepest])
        self.places = network.places
        self.num_exits = len(self.sections)
        self.num_classes = deepest.out_features
        self.last_place: str | None = None
        """The module in the last section that gives its map, if known and no exit of its own."""
        self.classifier_place: str | None = None
        """What the deepest exit's classifier is called in the network without exits, if known."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits [B, C] of the deepest exit; no branch is run."""
        return self.logits_at(x_BCHW, self.num_exits)

    def outputs(self, x_BCHW: Tensor) -> ExitOutputs:
        """Logits and features of every exit, in one pass."""
        logits, features = [], []
        map_BCHW = x_BCHW
        for exit, section in enumerate(self.sections, start=1):
            map_BCHW = section(map_BCHW)
            features.append(self.features(map_BCHW, exit))
            logits.append(self.classify(features[-1], exit))
        return ExitOutputs(tuple(logits), tuple(features))

    def logits_at(self, x_BCHW: Tensor, exit: int) -> Tensor:
        """Logits [B, C] of one exit; nothing beyond it is computed, nor any other branch.

        Raises ConfigError if there is no such exit.
        """
        self.check_exit(exit)
        map_BCHW = x_BCHW
        for section in islice(self.sections, exit):
            map_BCHW = section(map_BCHW)
        return self.classify(self.features(map_BCHW, exit), exit)

    def alone(self, exit: int) -> nn.Sequential:
        """One exit as a plain network of the same modules. Raises ConfigError if there is none."""
        self.check_exit(exit)
        branch = self.branches[exit - 1 : exit]  # the deepest exit has none
        network = nn.Sequential(*self.sections[:exit], *branch, self.classifiers[exit - 1])
        network.training = self.training  # its modules have their modes
        return network

    def features(self, map_BCHW: Tensor, exit: int) -> Tensor:
        """What the classifier of an exit reads, [B, F], from what the exit's section gave."""
        if exit == self.num_exits:
            return map_BCHW
        features_BF: Tensor = self.branches[exit - 1](map_BCHW)
        return features_BF

    def classify(self, features_BF: Tensor, exit: int) -> Tensor:
        """Logits [B, C] of an exit, from what its classifier reads."""
        logits_BC: Tensor = self.classifiers[exit - 1](features_BF)
        return logits_BC

    def name_without_exits(self, name: str) -> str | None:
        """What a tensor is called in the network without exits; None if that has none such.

        Example:
            >>> network.name_without_exits("sections.1.stages.2.0.conv1.weight")  # doctest: +SKIP
            'stages.2.0.conv1.weight'
        """
        kind, number, rest = name.split(".", 2)
        if kind == "sections":
            return rest
        deepest = kind == "classifiers" and int(number) == self.num_exits - 1
        return f"{self.classifier_place}.{rest}" if deepest and self.classifier_place else None

    def check_exit(self, exit: int) -> None:
        """Raise ConfigError if there is no such exit."""
        if exit not in range(1, self.num_exits + 1):
            raise ConfigError(f"--exit is {exit}; the network has exits 1 to {self.num_exits}")


def multi_exit(
    network: nn.Module,
    places: Sequence[str],
    image_shape: Sequence[int],
    spec: object,
    flag: str = "--exits",
) -> MultiExit:
    """``network`` with an exit after each of ``places``, and its own at the end.

    Arguments and errors are those of ``cut``; the network's modules are shared. The branches and
    their classifiers are drawn from torch's random numbers.
    """
    trunk = cut(network, places, image_shape, spec, flag)
    maps, last = measure(trunk, image_shape)
    branches = [
        branch(map_BCHW.shape[1], trunk.classifier.in_features, stride(size(map_BCHW), last))
        for map_BCHW in maps
    ]
    made = MultiExit(trunk, branches)
    made.last_place = _last_after(network, places)
    made.classifier_place = next(
        name for name, module in network.named_modules() if module is trunk.classifier
    )
    return made


def _last_after(network: nn.Module, places: Sequence[str]) -> str | None:
    """What gives the last map in the section after the last of ``places``, if that can be named."""
    name = last_place(network)
    while name and any(place.startswith(f"{name}.") for place in places):
        stage = network.get_submodule(name)  # in which an exit stands, so a part of it is left
        if not isinstance(stage, nn.Sequential):
            return None
        name = f"{name}.{len(stage) - 1}"
    return None if name in places else name


def branch(in_channels: int, features: int, stride: int) -> nn.Sequential:
    """1x1 convolution to F/4 channels, k x k with stride k, 1x1 to F channels; then the average.

    The bottleneck of the ICCV paper as luanyunteng's re-implementation has it, but without
    biases, which batch norm would take away again.
    """
    middle = max(features // 4, 1)
    made = nn.Sequential(
        *unpadded(in_channels, middle, 1),
        *unpadded(middle, middle, stride),
        *unpadded(middle, features, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    initialise_convolutions(made)
    return made


def unpadded(in_channels: int, out_channels: int, kernel: int) -> list[nn.Module]:
    """A convolution whose windows lie side by side, batch norm, ReLU."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel, stride=kernel, bias=False)
    return [convolution, nn.BatchNorm2d(out_channels), nn.ReLU()]


def stride(exit: Size, last: Size) -> int:
    """k that brings an exit's map (H, W) to the size of the last one; 1 to 8, and never above H or W.

    Example:
        >>> stride((32, 32), (4, 4)), stride((7, 7), (2, 2)), stride((1, 9), (1, 1))
        (8, 3, 1)
    """
    wanted = min(exit[0] // last[0], exit[1] // last[1])
    return min(max(wanted, 1), LARGEST_STRIDE)


@torch.no_grad()
def measure(trunk: CutNetwork, image_shape: Sequence[int]) -> tuple[tuple[Tensor, ...], Size]:
    """The exits' maps, and the size of the network's last map: its smallest of more than a pixel."""
    sizes: list[Size] = []

    def record(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() == 4:
            sizes.append(size(output))

    hooks = [module.register_forward_hook(record) for module in trunk.modules()]
    try:
        with in_mode(trunk, training=False):
            maps, _ = trunk.with_maps(torch.zeros(2, *image_shape))
    finally:
        for hook in hooks:
            hook.remove()
    pixels = {height * width: (height, width) for height, width in sizes if height * width > 1}
    return maps, pixels[min(pixels)] if pixels else (1, 1)


def size(map_BCHW: Tensor) -> Size:
    """Height and width of a map."""
    return map_BCHW.shape[2], map_BCHW.shape[3]
