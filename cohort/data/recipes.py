"""How a network learns each data set when the user says nothing: the papers' recipes, or ours.

Imports no torch, so that ``--help`` and configuration stay fast.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from cohort.config import LrSchedule, Optimizer, RunConfig

Config = TypeVar("Config", bound=RunConfig)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The values that a ``None`` in TrainingConfig stands for, and the network."""

    network: str
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    optimizer: Optimizer
    lr_schedule: LrSchedule


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

GENERAL = replace(CIFAR, epochs=100, lr=0.05, lr_schedule="cosine")
"""For pictures nobody has tuned for: half of CIFAR's rate and a smooth decay forgive more."""

DIGITS = replace(GENERAL, network="resnet8", epochs=20)
SYNTHETIC = replace(GENERAL, epochs=10)

SELF_DISTILLATION = replace(
    CIFAR, network="resnet18", epochs=250, batch_size=128, lr_schedule="thirds"
)
"""Be Your Own Teacher (arXiv 1905.08094), as in its authors' code."""

RECIPES = {"cifar10": CIFAR, "cifar100": CIFAR, "digits": DIGITS, "synthetic": SYNTHETIC}


def recipe_for(dataset: str | Callable[..., Any]) -> Recipe:
    """The recipe of a ``DataConfig.dataset``; the general one for a folder and one's own."""
    return RECIPES.get(dataset, GENERAL) if isinstance(dataset, str) else GENERAL


def self_distillation_recipe(dataset: str | Callable[..., Any]) -> Recipe:
    """The same for self-distillation, which has a recipe of its own for CIFAR."""
    recipe = recipe_for(dataset)
    if recipe is CIFAR:
        return SELF_DISTILLATION
    return recipe if dataset == "digits" else replace(recipe, network=SELF_DISTILLATION.network)


def fill_in(config: Config, recipe: Recipe) -> Config:
    """The config with every training key that is None as the recipe says."""
    keys = ("epochs", "batch_size", "lr", "weight_decay", "optimizer", "lr_schedule")
    missing = {key: getattr(recipe, key) for key in keys if getattr(config, key) is None}
    return replace(config, **missing)
