"""timm's classifiers by name, ``timm:NAME``. Shapes: images (C, H, W)."""

import importlib.util
from typing import Any

from torch import nn

from cohort.errors import ConfigError, did_you_mean
from cohort.imports import one_line
from cohort.models.families import ImageShape
from cohort.trust import TIMM


def build_timm(spec: str, num_classes: int, image_shape: ImageShape, *, flag: str) -> nn.Module:
    """timm's classifier ``timm:NAME``, without pretrained weights; nothing is downloaded.

    It takes images of any number of channels, and is built for their size if it takes one size only,
    as vision transformers do. Raises ConfigError if there is no timm, no such network, or it cannot be
    built for these images.
    """
    if importlib.util.find_spec("timm") is None:
        raise ConfigError(
            f"{flag} is {spec!r}, which needs the extra: pip install 'cohort[models]'"
        )
    import timm

    name = spec.removeprefix(TIMM)
    if not timm.is_model(name):
        hint = did_you_mean(name, timm.list_models())
        raise ConfigError(
            f"{flag} is {spec!r}, but timm {timm.__version__} has no network {name!r}; "
            f"{hint or 'timm.list_models() names all'}"
        )
    options: dict[str, Any] = {"num_classes": num_classes, "in_chans": image_shape[0]}
    try:
        settings = timm.get_pretrained_cfg(name)
        if settings is not None and settings.fixed_input_size:
            options["img_size"] = image_shape[1:]
        network: nn.Module = timm.create_model(name, pretrained=False, **options)
    except Exception as error:
        raise ConfigError(
            f"{flag} is {spec!r}, which timm cannot build for images of shape {image_shape}: "
            f"{one_line(error)}"
        ) from error
    return network
