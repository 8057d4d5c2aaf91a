"""From what stands after ``--students`` to a network: ours, torchvision's, timm's, or the user's own."""

from collections.abc import Sequence

import torch
from torch import nn

from cohort.errors import ConfigError
from cohort.imports import import_object
from cohort.models.batch_ensemble import BatchEnsemble, batch_ensemble
from cohort.models.cut import candidates, default_places
from cohort.models.early_exit import MultiExitStudent
from cohort.models.factory import call_factory, check_network
from cohort.models.families import ImageShape, build_own
from cohort.models.from_timm import build_timm
from cohort.models.from_torchvision import build_torchvision
from cohort.models.member_layers import member_biases
from cohort.models.members import MembersStudent
from cohort.models.multi_exit import MultiExit, multi_exit
from cohort.models.normalised import Normalised
from cohort.models.spec import Network, WithExits, WithMembers, parse_spec, shown
from cohort.seeding import derive_seed
from cohort.trust import TIMM, code_of

PLACES_FLAG = {"--model": "--exits"}
"""Where the user names places, if not together with the network."""


def build_student(
    spec: Network,
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
    spec: Network, *, num_classes: int, image_shape: ImageShape, flag: str = "--students"
) -> nn.Module:
    """A freshly initialised network for images (C, H, W), checked to give ``num_classes`` logits.

    Args:
        spec: one of ``known_networks()``, a torchvision classifier's name, ``timm:NAME``, one's own
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
    elif code_of(spec):
        factory = import_object(spec, flag)
        network = call_factory(factory, spec, num_classes, image_shape, flag=flag)
    else:
        network = build_by_name(spec, num_classes, image_shape, flag=flag)
        # Convolutions are a fifth faster so, on CPU and GPU; a user's own may `view` its maps.
        network = network.to(memory_format=torch.channels_last)
    check_network(network, num_classes, image_shape, spec, flag=flag)
    return network


def build_by_name(name: str, num_classes: int, image_shape: ImageShape, *, flag: str) -> nn.Module:
    """A network that this package, torchvision or timm has; raises ConfigError if none of them."""
    if name.startswith(TIMM):
        return build_timm(name, num_classes, image_shape, flag=flag)
    own = build_own(name, num_classes, image_shape, flag=flag)
    return own or build_torchvision(name, num_classes, image_shape, flag=flag)


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
    ensemble = batch_ensemble(network, spec.members, init=spec.init, flag=flag)
    for bias in member_biases(ensemble):
        nn.init.zeros_(bias)
    return ensemble


def with_places(spec: Network, *, num_classes: int, image_shape: ImageShape) -> Network:
    """The spec with the places of its exits named, so that it is rebuilt exactly wherever it is read.

    Raises ConfigError as ``build_network`` does.
    """
    spec = parse_spec(spec, "--students")
    if not isinstance(spec, WithExits) or spec.places is not None:
        return spec
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers are his own
        network = build_with_exits(spec, num_classes, image_shape, flag="--students")
    return WithExits(spec.network, network.places)


def normalised(network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> Normalised:
    """A MultiExitStudent of a network with exits, a MembersStudent of a batch ensemble."""
    if isinstance(network, MultiExit):
        return MultiExitStudent(network, mean, std)
    if isinstance(network, BatchEnsemble):
        return MembersStudent(network, mean, std)
    return Normalised(network, mean, std)
