"""What a network does between its modules: observed once on zeros, then traced by torch.fx.

Only modules that contain a place, or the classifier, are looked into. Everything else, a block of a
ResNet for instance, stays one opaque module, so whatever happens inside it need not be traceable.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from cohort.imports import one_line
from cohort.models.modules import in_mode

WHOLE = "network"
"""The network's name inside the module that is traced, which calls it with images alone."""


class CannotCutError(ValueError):
    """Why a network cannot be cut: the second half of a sentence."""


class Whole(nn.Module):
    """Calls the network as training does: with images, further parameters left at their defaults."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_BCHW: Tensor) -> Any:
        """What the network gives."""
        return self.network(x_BCHW)


@dataclass
class Observed:
    """What one forward in evaluation mode showed."""

    outputs: dict[str, list[tuple[Any, int]]] = field(default_factory=dict)
    """What each place gave at each call, and how often that had been overwritten then."""
    classifier: nn.Linear | None = None
    """The linear layer that was called last."""
    features: Any = None
    """What ``classifier`` read."""


@torch.no_grad()
def observe(
    network: nn.Module, places: Mapping[str, nn.Module], image_shape: Sequence[int]
) -> Observed:
    """Run two images of zeros through the network, in evaluation mode; changes nothing."""
    seen = Observed({place: [] for place in places})

    def watch_classifier(module: nn.Module, inputs: Any, output: Any) -> None:
        assert isinstance(module, nn.Linear)
        seen.classifier, seen.features = module, inputs[0]

    hooks = [
        module.register_forward_hook(watch_classifier)
        for module in network.modules()
        if isinstance(module, nn.Linear)
    ]
    for place, module in places.items():

        def watch_place(module: nn.Module, inputs: Any, output: Any, place: str = place) -> None:
            seen.outputs[place].append((output, getattr(output, "_version", 0)))

        hooks.append(module.register_forward_hook(watch_place))
    try:
        with in_mode(network, training=False):
            network(torch.zeros(2, *image_shape))
    finally:
        for hook in hooks:
            hook.remove()
    return seen


@dataclass
class Traced:
    """A network as a graph of calls, and the nodes after which it shall be cut."""

    whole: nn.Module
    graph: fx.Graph
    cuts: list[fx.Node]


class PlaceTracer(fx.Tracer):
    """Looks into ``opened`` modules only, and remembers which node each place gave."""

    def __init__(self, opened: set[nn.Module], places: Iterable[nn.Module]) -> None:
        super().__init__()
        self.opened = opened
        self.given: dict[nn.Module, Any] = dict.fromkeys(places)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether ``m`` stays one opaque call."""
        return m not in self.opened

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Called by torch.fx for every call of a module."""
        given = super().call_module(m, forward, args, kwargs)
        if m in self.given:
            self.given[m] = given.node
        return given


def trace(network: nn.Module, places: Mapping[str, nn.Module], classifier: nn.Module) -> Traced:
    """The network's graph, the same in training and evaluation mode. Raises CannotCutError."""
    opened = ancestors(network, [*places.values(), classifier])
    training, _ = _trace(network, opened, places.values(), training=True)
    evaluation, tracer = _trace(network, opened, places.values(), training=False)
    if str(training) != str(evaluation):
        raise CannotCutError(
            "its forward does something else in training than in evaluation outside of its modules; "
            "use modules there, nn.Dropout instead of F.dropout for example"
        )
    return Traced(tracer.root, evaluation, [tracer.given[place] for place in places.values()])


def _trace(
    network: nn.Module, opened: set[nn.Module], places: Iterable[nn.Module], *, training: bool
) -> tuple[fx.Graph, PlaceTracer]:
    tracer = PlaceTracer(opened, places)
    with in_mode(network, training=training):
        try:
            return tracer.trace(Whole(network)), tracer
        except Exception as error:
            raise CannotCutError(f"torch.fx cannot trace it: {one_line(error)}") from error


def ancestors(network: nn.Module, inner: Sequence[nn.Module]) -> set[nn.Module]:
    """Every module that contains one of ``inner``; the network itself always does."""
    found = {network}
    for name, module in network.named_modules(remove_duplicate=False):
        if module in inner:
            parts = name.split(".")
            outer = (".".join(parts[:end]) for end in range(1, len(parts)))
            found |= {network.get_submodule(name) for name in outer}
    return found
