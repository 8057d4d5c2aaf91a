"""How a network learns each data set when the user says nothing: the papers' recipes, or ours.

Imports no torch, so that ``--help`` and configuration stay fast.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from cohort.config import LrSchedule, Optimizer, RunConfig

Config = TypeVar("Config", bound=RunConfig)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A network, and the values that a ``None`` stands for in the keys of those names."""

    network: str
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    optimizer: Optimizer
    lr_schedule: LrSchedule
    warmup_epochs: float = 0.0
    """Epochs of rising learning rate; scaled with ``epochs`` where the user wants another number."""


CIFAR = Recipe(
    network="resnet32",
    epochs=200,
    batch_size=64,
    lr=0.1,
    weight_decay=5e-4,
    optimizer="sgd",
    lr_schedule="step",
)
"""Deep Mutual Learning (arXiv 1706.00384), with the weight decay that replicators add."""

MARKET = Recipe(
    network="mobilenet_v1",
    epochs=124,
    batch_size=16,
    lr=2e-4,
    weight_decay=4e-5,
    optimizer="adam",
    lr_schedule="constant",
)
"""Deep Mutual Learning on Market-1501: its 100 000 steps are 124 epochs of 808.

The weight decay is that of its authors' code; its label smoothing of 0.1 is left to the user.
"""

IMAGENET = Recipe(
    network="resnet50",
    epochs=90,
    batch_size=256,
    lr=0.1,
    weight_decay=1e-4,
    optimizer="momentum",
    lr_schedule="thirds",
)
"""Deep Residual Learning (arXiv 1512.03385) as it is commonly repeated: x0.1 at epochs 30 and 60."""

GENERAL = replace(CIFAR, epochs=100, lr=0.05, lr_schedule="cosine")
"""For pictures nobody has tuned for: half of CIFAR's rate and a smooth decay forgive more."""

DIGITS = replace(GENERAL, network="resnet8", epochs=20)
SYNTHETIC = replace(GENERAL, epochs=10)
SYNTHETIC_PEOPLE = replace(DIGITS, batch_size=32)

SELF_DISTILLATION = replace(
    CIFAR,
    network="resnet18",
    epochs=250,
    batch_size=128,
    optimizer="momentum",
    lr_schedule="thirds",
)
"""Be Your Own Teacher (arXiv 1905.08094), as in its authors' code: momentum without Nesterov's."""

ODS = replace(
    CIFAR, epochs=300, lr=0.05, optimizer="momentum", lr_schedule="linear", warmup_epochs=5.0
)
"""Diversity Matters When Learning From Ensembles (arXiv 2110.14149), as in its authors' code."""

RECIPES = {
    "cifar10": CIFAR,
    "cifar100": CIFAR,
    "tiny-imagenet": CIFAR,
    "imagenet": IMAGENET,
    "market1501": MARKET,
    "digits": DIGITS,
    "synthetic": SYNTHETIC,
    "synthetic-people": SYNTHETIC_PEOPLE,
}


SEARCHED = ("market1501", "synthetic-people")
"""The data sets whose test split is a ``Search``, for whoever has not read them."""


def recipe_for(dataset: str | Callable[..., Any]) -> Recipe:
    """The recipe of a ``DataConfig.dataset``; the general one for a folder and one's own."""
    return RECIPES.get(dataset, GENERAL) if isinstance(dataset, str) else GENERAL


def self_distillation_recipe(dataset: str | Callable[..., Any]) -> Recipe:
    """The recipe for self-distillation of a ``DataConfig.dataset``: the authors' own where it is CIFAR's."""
    recipe = recipe_for(dataset)
    if recipe is CIFAR:
        return SELF_DISTILLATION
    return (
        recipe
        if dataset in ("digits", "imagenet")
        else replace(recipe, network=SELF_DISTILLATION.network)
    )


def ods_recipe(dataset: str | Callable[..., Any]) -> Recipe:
    """The recipe for ODS distillation, which is trained alike on all data sets, only not as long.

    Its network is that of the teachers; the recipe's is never asked for.
    """
    recipe = recipe_for(dataset)
    if recipe is CIFAR:
        return ODS
    warmup_epochs = ODS.warmup_epochs * recipe.epochs / ODS.epochs
    return replace(ODS, network=recipe.network, epochs=recipe.epochs, warmup_epochs=warmup_epochs)


def fill_in(config: Config, recipe: Recipe) -> Config:
    """The config with every training key that is None as the recipe says; the network is the caller's.

    A warm-up that the user leaves to the recipe stays the same fraction of the epochs.
    """
    keys = [field.name for field in fields(Recipe) if field.name != "network"]
    missing = {key: getattr(recipe, key) for key in keys if getattr(config, key) is None}
    if "warmup_epochs" in missing:
        epochs = config.epochs or recipe.epochs
        missing["warmup_epochs"] = recipe.warmup_epochs * epochs / recipe.epochs
    return replace(config, **missing)
