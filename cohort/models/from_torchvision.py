"""torchvision's classifiers by name. Shapes: images (C, H, W)."""

from collections.abc import Sequence

from torch import nn

from cohort.errors import ConfigError, did_you_mean
from cohort.models.families import ImageShape, close_names, known_networks


def build_torchvision(
    name: str, num_classes: int, image_shape: ImageShape, *, flag: str
) -> nn.Module:
    """torchvision's classifier of that name, without pretrained weights."""
    import torchvision  # here, because it takes seconds and most runs need none of it

    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        raise ConfigError(unknown_network(name, names, flag=flag))
    if image_shape[0] != 3:
        raise ConfigError(
            f"{flag} is {name!r}, a torchvision network, which takes images of 3 channels, "
            f"but these have {image_shape[0]}; take one of {', '.join(known_networks())}"
        )
    # With auxiliary classifiers they return tuples; unless told to initialise, they warn.
    plain = {"aux_logits": False, "init_weights": True}
    options: dict[str, bool] = plain if name in ("googlenet", "inception_v3") else {}
    network: nn.Module = torchvision.models.get_model(
        name, weights=None, num_classes=num_classes, **options
    )
    return network


def unknown_network(name: str, torchvision_names: Sequence[str], *, flag: str) -> str:
    """The sentence for a name that nobody has."""
    hint = did_you_mean(name.lower(), (*close_names(), *torchvision_names))
    return (
        f"{flag} is {name!r}{hint and f' ({hint})'}; it must be {', '.join(known_networks())}, "
        "any torchvision classifier, timm:NAME, or one's own package.module:function"
    )
