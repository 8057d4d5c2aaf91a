"""Any plain network as consecutive sections, cut after named modules: the same function, stoppable there.

Shapes: B batch, C classes, F features, S sections; a map is [B, C_i, H_i, W_i].
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, fx, nn

from cohort.errors import ConfigError, did_you_mean
from cohort.imports import written_name
from cohort.models.layers import Backbone
from cohort.models.tracing import WHOLE, CannotCutError, Observed, Traced, observe, trace

SHOWN_CANDIDATES = 16


class CutNetwork(nn.Module):
    """A plain network as S sections and its classifier; it computes what the network computes.

    Modules, and so parameters and buffers, are the network's own.
    """

    def __init__(
        self, sections: Sequence[nn.Module], classifier: nn.Linear, places: Sequence[str]
    ) -> None:
        super().__init__()
        self.sections = nn.ModuleList(sections)
        self.classifier = classifier
        self.places = tuple(places)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits [B, C], equal to the network's."""
        return self.with_maps(x_BCHW)[1]

    def with_maps(self, x_BCHW: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """The outputs of all sections but the last, shallowest first, and logits [B, C]."""
        given = [x_BCHW]
        for section in self.sections:
            given.append(section(given[-1]))
        return tuple(given[1:-1]), self.classifier(given[-1])


def cut(
    network: nn.Module,
    places: Sequence[str],
    image_shape: Sequence[int],
    spec: object,
    flag: str = "--exits",
) -> CutNetwork:
    """``network`` cut after each of ``places``, its module names from shallow to deep.

    Args:
        network: from images [B, C, H, W] to logits [B, C], its last layer an ``nn.Linear``.
        places: modules that give a map, on which everything that comes later depends alone.
        image_shape: (C, H, W) of the images.
        spec: what the user calls the network, for messages.
        flag: where the user named the places, for messages.

    Raises:
        ConfigError: one sentence, if the network cannot be cut there.
    """
    try:
        modules = find_places(network, places)
        seen = observe(network, modules, image_shape)
        classifier = check_observed(seen)
        traced = trace(network, modules, classifier)
        return CutNetwork(partition(traced, list(places), classifier), classifier, places)
    except CannotCutError as error:
        after, name = "/".join(places) or "nothing", written_name(spec)
        raise ConfigError(f"{flag} puts exits after {after} in {name}, but {error}") from error


def default_places(network: nn.Module) -> tuple[str, ...] | None:
    """Where exits go if the user names no places: as the network says itself, or None."""
    places: tuple[str, ...] | None = getattr(network, "exits_after", None)
    if places is None and _is_torchvision_resnet(network):
        return "layer1", "layer2", "layer3"
    return places


def last_place(network: nn.Module) -> str | None:
    """The module that gives a network's last map, before it is pooled; None if it does not say."""
    if isinstance(network, Backbone):
        body = network.exits_after[-1].split(".")[0]
        return f"{body}.{len(list(network.get_submodule(body).children())) - 1}"
    return "layer4" if _is_torchvision_resnet(network) else None


def _is_torchvision_resnet(network: nn.Module) -> bool:
    return any(
        (cls.__module__, cls.__name__) == ("torchvision.models.resnet", "ResNet")
        for cls in type(network).__mro__  # without importing torchvision, which takes seconds
    )


def candidates(network: nn.Module) -> str:
    """Modules one and two levels deep, for messages."""
    names = [name for name, _ in network.named_modules() if name and name.count(".") <= 1]
    rest = ["…"] if len(names) > SHOWN_CANDIDATES else []
    return ", ".join(names[:SHOWN_CANDIDATES] + rest)


def find_places(network: nn.Module, places: Sequence[str]) -> dict[str, nn.Module]:
    """The module of each place. Raises CannotCutError if one is none, or none is named."""
    modules = dict(network.named_modules(remove_duplicate=False))
    del modules[""]  # the network itself
    if not places:
        raise CannotCutError(f"an exit needs a place; its modules are {candidates(network)}")
    for index, place in enumerate(places):
        if place not in modules:
            hint = did_you_mean(place, modules) or f"its modules are {candidates(network)}"
            raise CannotCutError(f"it has no module {place!r}; {hint}")
        if place in places[:index]:
            raise CannotCutError(f"{place} is named twice; name every place once")
    return {place: modules[place] for place in places}


def check_observed(seen: Observed) -> nn.Linear:
    """The classifier; raises CannotCutError unless every place gave one map, and it read features."""
    for place, outputs in seen.outputs.items():
        if len(outputs) != 1:
            raise CannotCutError(f"{place} is called {len(outputs)} times; it must be called once")
        output, version = outputs[0]
        if not isinstance(output, Tensor) or output.dim() != 4:
            raise CannotCutError(
                f"{place} gives {described(output)}; it must give a map [B, C, H, W]"
            )
        if output._version != version:
            raise CannotCutError(
                f"the layer after {place} overwrites its map in place; "
                "name that layer instead, or build it with inplace=False"
            )
    if seen.classifier is None or not isinstance(seen.features, Tensor) or seen.features.dim() != 2:
        raise CannotCutError(NO_CLASSIFIER)
    return seen.classifier


NO_CLASSIFIER = (
    "its last layer is not a classifier; it must return what an nn.Linear gives for features [B, F]"
)


def described(output: Any) -> str:
    """The shape of a module's output, or its type, for messages."""
    return str(list(output.shape)) if isinstance(output, Tensor) else type(output).__name__


def partition(traced: Traced, places: list[str], classifier: nn.Linear) -> list[fx.GraphModule]:
    """The sections: the nodes up to each cut, and from the last one to the classifier's features."""
    nodes = list(traced.graph.nodes)
    logits = nodes[-1].args[0]
    if not is_call_of(classifier, logits, traced.whole):
        raise CannotCutError(NO_CLASSIFIER)
    check_order(nodes, traced.cuts, places)
    (features,) = logits.all_input_nodes
    sections, start = [], nodes[0]
    for end, place in zip([*traced.cuts, features], [None, *places], strict=True):
        within = nodes[nodes.index(start) + 1 : nodes.index(end) + 1]
        sections.append(section(traced.whole, start, within, end, place))
        start = end
    return sections


def is_call_of(module: nn.Module, node: object, whole: nn.Module) -> bool:
    """Whether a node of the graph is a call of that module."""
    return (
        isinstance(node, fx.Node)
        and node.op == "call_module"
        and whole.get_submodule(str(node.target)) is module
    )


def check_order(nodes: list[fx.Node], cuts: list[fx.Node], places: list[str]) -> None:
    """Raise CannotCutError unless the network reaches the places in the order they are named."""
    reached = [nodes.index(node) for node in cuts]
    if sorted(set(reached)) != reached:
        pairs = zip(reached, places, strict=True)
        in_order = dict(sorted(pairs))
        names = "/".join(in_order.values())
        raise CannotCutError(f"it reaches them in another order; write {names}")


def section(
    whole: nn.Module, start: fx.Node, nodes: list[fx.Node], end: fx.Node, place: str | None
) -> fx.GraphModule:
    """The part of the graph that reads ``start``, the output of ``place``, and gives ``end``."""
    graph = fx.Graph()
    copies = {start: graph.placeholder("x")}

    def copy_of(node: fx.Node) -> fx.Node:
        if node not in copies and node.op == "get_attr":
            copies[node] = graph.node_copy(node)
        if node not in copies:
            raise CannotCutError(
                f"what comes after {place} also reads what came before it; "
                "cut where everything passes through one module"
            )
        return copies[node]

    for node in nodes:
        copies[node] = graph.node_copy(node, copy_of)
    graph.output(copies[end])
    return fx.GraphModule(named_as_in_network(whole, graph), graph, class_name="Section")


def named_as_in_network(whole: nn.Module, graph: fx.Graph) -> dict[str, Any]:
    """What the graph's nodes call or read, by the network's own names, under which they now do so."""
    attributes: dict[str, Any] = {}
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            *parents, name = str(node.target).split(".")
            node.target = str(node.target).removeprefix(f"{WHOLE}.")
            attributes[node.target] = getattr(whole.get_submodule(".".join(parents)), name)
    return attributes
