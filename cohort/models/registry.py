"""From what stands after ``--students`` to a network: ours, torchvision's, or the user's own."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from cohort.errors import ConfigError
from cohort.imports import import_object, import_path, one_line
from cohort.models.batch_ensemble import BatchEnsemble, batch_ensemble
from cohort.models.cut import candidates, default_places
from cohort.models.early_exit import MultiExitStudent
from cohort.models.families import ImageShape, build_own
from cohort.models.from_torchvision import build_torchvision
from cohort.models.member_layers import member_biases
from cohort.models.members import MembersStudent
from cohort.models.multi_exit import MultiExit, multi_exit
from cohort.models.normalised import Normalised
from cohort.models.spec import WithExits, WithMembers, parse_spec
from cohort.seeding import derive_seed

NetworkSpec = str | Callable[..., nn.Module] | WithExits | WithMembers
PLACES_FLAG = {"--model": "--exits"}
"""Where the user names places, if not together with the network."""


def build_student(
    spec: NetworkSpec,
    *,
    num_classes: int,
    image_shape: ImageShape,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int,
    student: int,
    flag: str = "--students",
) -> Normalised:
    """Student number ``student`` of a run, initialised from (seed, student) alone.

    It is a MultiExitStudent if the spec asks for exits, a MembersStudent if it asks for members.
    The caller's random state is left as it was. Raises ConfigError as ``build_network`` does.
    """
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would also reseed the GPUs.
        torch.default_generator.manual_seed(derive_seed(seed, "init", student))
        network = build_network(spec, num_classes=num_classes, image_shape=image_shape, flag=flag)
    return normalised(network, mean, std)


def build_network(
    spec: NetworkSpec, *, num_classes: int, image_shape: ImageShape, flag: str = "--students"
) -> nn.Module:
    """A freshly initialised network for images (C, H, W), checked to give ``num_classes`` logits.

    Args:
        spec: one of ``known_networks()``, a torchvision classifier's name, one's own
            ``package.module:function``, or a callable. One's own is called with ``num_classes``,
            and with ``image_shape`` if it has a parameter of that name. Any of these with
            ``+exits`` or ``+exits=PLACE/PLACE`` behind it, or in ``WithExits``, is a MultiExit;
            with ``+members=M``, or in ``WithMembers``, a BatchEnsemble.
        num_classes: how many logits an image gets.
        image_shape: (C, H, W) of the images.
        flag: what the user gave ``spec`` with, for messages.

    Raises:
        ConfigError: one sentence, if there is no such network or it does not fit the data.
    """
    spec = parse_spec(spec, flag)
    if isinstance(spec, WithExits):
        network: nn.Module = build_with_exits(spec, num_classes, image_shape, flag=flag)
    elif isinstance(spec, WithMembers):
        network = build_with_members(spec, num_classes, image_shape, flag=flag)
    elif not isinstance(spec, str):
        network = call_factory(spec, spec, num_classes, image_shape, flag=flag)
    elif ":" in spec:
        factory = import_object(spec, flag)
        network = call_factory(factory, spec, num_classes, image_shape, flag=flag)
    else:
        own = build_own(spec, num_classes, image_shape, flag=flag)
        network = own or build_torchvision(spec, num_classes, image_shape, flag=flag)
        # Convolutions are a fifth faster so, on CPU and GPU; a user's own may `view` its maps.
        network = network.to(memory_format=torch.channels_last)
    check_network(network, num_classes, image_shape, spec, flag=flag)
    return network


def build_with_exits(
    spec: WithExits, num_classes: int, image_shape: ImageShape, *, flag: str
) -> MultiExit:
    """The plain network of ``spec`` with exits where it says, or else where the network says."""
    network = build_network(
        spec.network, num_classes=num_classes, image_shape=image_shape, flag=flag
    )
    places = default_places(network) if spec.places is None else spec.places
    if places is None:
        how = "by --exits" if flag in PLACES_FLAG else "as in +exits=PLACE/PLACE"
        given = spec.network if flag in PLACES_FLAG else spec
        raise ConfigError(
            f"{flag} is {shown(given)}, a network that does not say where its exits go; name modules "
            f"to put them after, {how}, among {candidates(network)}"
        )
    return multi_exit(network, places, image_shape, spec.network, PLACES_FLAG.get(flag, flag))


def build_with_members(
    spec: WithMembers, num_classes: int, image_shape: ImageShape, *, flag: str
) -> BatchEnsemble:
    """The plain network of ``spec`` as a batch ensemble whose members' biases start at 0.

    So they do in the code of Nam et al., NeurIPS 2021 (arXiv 2110.14149).
    """
    network = build_network(
        spec.network, num_classes=num_classes, image_shape=image_shape, flag=flag
    )
    ensemble = batch_ensemble(
        network, spec.members, init=spec.init, image_shape=image_shape, flag=flag
    )
    for bias in member_biases(ensemble):
        nn.init.zeros_(bias)
    return ensemble


def with_places(spec: NetworkSpec, *, num_classes: int, image_shape: ImageShape) -> NetworkSpec:
    """The spec with the places of its exits named, so that it is rebuilt exactly wherever it is read.

    Raises ConfigError as ``build_network`` does.
    """
    spec = parse_spec(spec, "--students")
    if not isinstance(spec, WithExits) or spec.places is not None:
        return spec
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers are his own
        network = build_with_exits(spec, num_classes, image_shape, flag="--students")
    return WithExits(spec.network, network.places)


def call_factory(
    factory: object, spec: NetworkSpec, num_classes: int, image_shape: ImageShape, *, flag: str
) -> nn.Module:
    """What the user's own factory builds."""
    if isinstance(factory, nn.Module) or not callable(factory):
        raise ConfigError(
            f"{flag} is {shown(spec)}, which is of type {type(factory).__name__}; "
            "it must be a function that returns a new torch.nn.Module"
        )
    arguments: dict[str, Any] = {"num_classes": num_classes}
    if takes(factory, "image_shape"):
        arguments["image_shape"] = image_shape
    try:
        network = factory(**arguments)
    except Exception as error:
        given = ", ".join(f"{key}={value}" for key, value in arguments.items())
        raise ConfigError(
            f"{flag} is {shown(spec)}, which failed when called with {given}: {one_line(error)}"
        ) from error
    if not isinstance(network, nn.Module):
        raise ConfigError(
            f"{flag} is {shown(spec)}, which returned something of type {type(network).__name__}; "
            "it must return a torch.nn.Module"
        )
    return network


def takes(function: Callable[..., Any], parameter: str) -> bool:
    """Whether a parameter is named so; ``**kwargs`` does not count, it may lead anywhere."""
    try:
        found = inspect.signature(function).parameters.get(parameter)
    except (TypeError, ValueError):  # some built-in callables have no signature
        return False
    return found is not None and found.kind in (found.KEYWORD_ONLY, found.POSITIONAL_OR_KEYWORD)


@torch.no_grad()
def check_network(
    network: nn.Module,
    num_classes: int,
    image_shape: ImageShape,
    spec: NetworkSpec,
    *,
    flag: str = "--students",
) -> None:
    """Raise ConfigError unless two images give logits [2, num_classes]; changes nothing.

    A batch ensemble gives those of every member.
    """
    batch = (2, *image_shape)
    training = [module for module in network.modules() if module.training]
    network.eval()  # so that batch norm keeps its statistics
    try:
        logits = network(torch.zeros(batch))
    except Exception as error:
        raise ConfigError(
            f"{flag} is {shown(spec)}, which failed on images of shape {image_shape} "
            f"(perhaps it needs another size): {one_line(error)}"
        ) from error
    finally:
        for module in training:
            module.training = True
    got = list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    expected = [2, num_classes]
    if isinstance(network, BatchEnsemble):
        expected = [network.members, *expected]
    if got != expected:
        raise ConfigError(
            f"{flag} is {shown(spec)}, which gave {got} for images {list(batch)}; "
            f"it must give logits {expected}"
        )


def shown(spec: NetworkSpec) -> str:
    """A spec as it stands in a message, on one line."""
    if isinstance(spec, str):
        return repr(spec)
    if isinstance(spec, WithExits | WithMembers):
        return repr(spec.written_name)
    return import_path(spec) or getattr(spec, "__qualname__", None) or type(spec).__name__


def normalised(network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> Normalised:
    """A MultiExitStudent of a network with exits, a MembersStudent of a batch ensemble."""
    if isinstance(network, MultiExit):
        return MultiExitStudent(network, mean, std)
    if isinstance(network, BatchEnsemble):
        return MembersStudent(network, mean, std)
    return Normalised(network, mean, std)
