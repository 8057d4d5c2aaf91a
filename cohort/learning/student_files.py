"""A trained student on disk: weights without pickle, and a JSON beside them that says how to rebuild it."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Self

import safetensors.torch
import torch
from pydantic import ConfigDict, Field, TypeAdapter
from torch import nn

from cohort import formats
from cohort.cards import read_json
from cohort.data.dataset import ImageDataset
from cohort.errors import ConfigError, brief
from cohort.files import refuse_uri
from cohort.learning.learner import WEIGHTS_FILE
from cohort.models.early_exit import MultiExitStudent
from cohort.models.normalised import Normalised
from cohort.models.registry import build_network, normalised
from cohort.models.spec import Network, WithExits, WithMembers, parse_spec
from cohort.trust import code_of, refuse_code

CARD_FILE = "model.json"
MOST_NUMBERS = 2**26
"""Of an image: 8192 × 8192 grey pixels. A card that asks for more would only fill the memory."""

Channels = Annotated[int, Field(ge=1, le=4096)]
Side = Annotated[int, Field(ge=1, le=MOST_NUMBERS)]
Mean = Annotated[float, Field(ge=-1e9, le=1e9)]
Std = Annotated[float, Field(ge=1e-9, le=1e9)]
"""Both of pixels from 0 to 1: far beyond what any have, and within what float32 divides by."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """How to rebuild a student around its weights. Bounds are those of a file, which anyone may write."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, allow_inf_nan=False)

    network: Annotated[str, Field(min_length=1)]
    dataset: str
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    image_shape: tuple[Channels, Side, Side]
    mean: tuple[Mean, ...]
    std: tuple[Std, ...]
    exit: int | None = None
    """The one exit of ``network`` that the weights are of; None: all of it."""

    @classmethod
    def of(cls, network: str, dataset: ImageDataset) -> Self:
        """The card of a network, as it is written, that learned a data set."""
        return cls(
            network=network,
            dataset=dataset.name,
            classes=dataset.classes,
            image_shape=dataset.image_shape,
            mean=dataset.mean,
            std=dataset.std,
        )

    def to_json(self) -> str:
        """The text of model.json."""
        return json.dumps({formats.KEY: formats.CARD, **asdict(self)}, indent=2) + "\n"


_READER = TypeAdapter(ModelCard)


def load_student(
    path: str | Path, network: Network | None = None, *, trust_code: bool = False
) -> Normalised:
    """A trained student in evaluation mode: pixels [B, C, H, W] to logits [B, classes].

    Pixels are uint8, or floating-point numbers in [0, 1]; others, and images of another shape, raise
    ConfigError. Normalisation is part of the module. A network with exits is a MultiExitStudent, one
    exit of it that was exported alone a plain student, a batch ensemble a MembersStudent. ``path`` is
    the student's folder, for example ``runs/NAME/students/0``. ``network``, the factory that was
    trained, is needed only where model.json names one that is not this package's, torchvision's or
    timm's, for that is code, which runs when the network is built; ``trust_code`` runs it as the file
    names it, if it can be imported, as a lambda, or a function of the main script, cannot.
    Raises ConfigError, naming the file, if one is missing or does not fit, or code is not trusted.
    """
    student = trained_student(path, network, trust_code=trust_code)
    student.checks = True
    return student


def trained_student(
    path: str | Path, network: Network | None = None, *, trust_code: bool = False
) -> Normalised:
    """``load_student`` for this package's own pixels, floats in [0, 1], which are not looked at."""
    refuse_uri(path, "the folder of load_student")
    folder = Path(path)
    card = read_card(folder)
    if network is None and card.network.startswith("<"):
        raise ConfigError(
            f"{folder / CARD_FILE} names the network {brief(card.network)}, which cannot be imported; "
            "pass its factory: load_student(path, network=...), or train a network of a module, which "
            "every command can import"
        )
    try:
        weights = (folder / WEIGHTS_FILE).read_bytes()
    except OSError as error:
        raise ConfigError(f"{folder / WEIGHTS_FILE} cannot be read: {error.strerror}") from error
    return rebuild(card, weights, folder, network, trust_code=trust_code)


def rebuild(
    card: ModelCard,
    weights: bytes,
    folder: Path,
    network: Network | None = None,
    *,
    trust_code: bool,
) -> Normalised:
    """The student of ``load_student`` from what its folder holds."""
    if network is None:
        refuse_network(card, folder, trust_code)
    student = untrained(card, network, folder / CARD_FILE)
    try:
        student.load_state_dict(safetensors.torch.load(weights))
    except (RuntimeError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"{folder / WEIGHTS_FILE} cannot be loaded: {reason}") from error
    return student.eval()


def refuse_network(card: ModelCard, folder: Path, trust_code: bool) -> None:
    """Raise ConfigError if the network of a card is code, unless that is trusted."""
    if code := code_of(card.network):
        instead = "pass the function yourself: load_student(path, network=...)"
        refuse_code(folder / CARD_FILE, code, trust_code, instead=instead)


def own_factory(network: Network | None) -> Network | None:
    """``network`` if it is a function, which a card may not be able to name."""
    return None if isinstance(network, str) else network


def untrained(card: ModelCard, network: Network | None, file: Path) -> Normalised:
    """The student that a card describes, around the factory ``network`` if one is given."""
    spec = parse_spec(card.network, str(file))
    if isinstance(spec, WithExits | WithMembers) and callable(network):
        network = replace(spec, network=network)
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers are his own
        module = build_network(
            network or spec,
            num_classes=len(card.classes),
            image_shape=card.image_shape,
            flag=str(file),
        )
    student = normalised(module, card.mean, card.std)
    if card.exit is None:
        return student
    if not isinstance(student, MultiExitStudent):
        raise ConfigError(
            f"{file} names exit {brief(card.exit)} of {card.network}, which has no exits"
        )
    exits = student.network.num_exits
    if card.exit not in range(1, exits + 1):
        raise ConfigError(
            f"{file} names exit {brief(card.exit)} of {card.network}, which has exits 1 to {exits}"
        )
    return student.exit_alone(card.exit)


def read_card(folder: Path) -> ModelCard:
    """The model.json of a student's folder."""
    file = folder / CARD_FILE
    try:
        card = read_json(file, _READER, formats.CARD, "a student")
    except FileNotFoundError as error:
        raise ConfigError(f"{file} is missing; give the folder of a trained student") from error
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read ({error.strerror}); give the folder of a trained student"
        ) from error
    if not card.image_shape[0] == len(card.mean) == len(card.std):
        raise ConfigError(
            f"{file} does not describe a student: mean and std must have a number for each channel of "
            "image_shape"
        )
    if math.prod(card.image_shape) > MOST_NUMBERS:
        raise ConfigError(
            f"{file} does not describe a student: image_shape is {list(card.image_shape)}, which is more "
            f"than {MOST_NUMBERS} numbers"
        )
    return card


def weights_sha256(network: nn.Module) -> str:
    """Hash of parameters and buffers in name order: equal hashes mean bit-identical students."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name}{array.dtype}{tuple(array.shape)}".encode())
        digest.update(array.flatten().view(torch.uint8).numpy().tobytes())  # NumPy has no bfloat16
    return digest.hexdigest()
