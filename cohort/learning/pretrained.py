"""Weights from a file, fitted to a student that is freshly initialised.

A tensor fits if its name and shape do; prefixes that wrappers put before names do not count. What
does not fit stays new, above all a classifier of other classes.
"""

import hashlib
import io
import pickle
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from cohort.errors import ConfigError
from cohort.files import refuse_uri
from cohort.imports import one_line
from cohort.learning.learner import WEIGHTS_FILE, Files
from cohort.learning.student_files import CARD_FILE, read_card
from cohort.models.multi_exit import MultiExit
from cohort.models.normalised import Normalised
from cohort.models.tracing import observe

PREFIXES = ("module.", "network.", "backbone.")
"""What wrappers of networks put before names: torch's data parallelism, our students, others' heads."""
NESTED = ("state_dict", "model", "model_state_dict")
"""Keys under which training programs put a state dict."""
OF_STUDENTS = ("scale", "offset")
"""A student's normalisation, which is that of its data."""


@dataclass(frozen=True)
class WeightsFile:
    """The tensors in a file."""

    given: str
    """How the user named it."""
    sha256: str
    tensors: Mapping[str, Tensor]
    classes: tuple[str, ...] | None
    """Names of the classes that its classifier knows, if it is a student of ours."""


@dataclass(frozen=True)
class Pretrained:
    """What of a file fits a student."""

    file: WeightsFile
    fitting: Mapping[str, Tensor]
    """By the student's names."""
    new: tuple[str, ...]
    """The student's names of what the file has not."""
    unused: tuple[str, ...]
    """The file's names of what the student has not."""

    def into(self, files: Files) -> Files:
        """The files of a student at step 0, with these weights."""
        fresh = safetensors.torch.load(files[WEIGHTS_FILE])
        return {**files, WEIGHTS_FILE: safetensors.torch.save({**fresh, **self.fitting})}

    def report(self) -> dict[str, Any]:
        """What was loaded and what was not, for summary.json."""
        return {
            "file": self.file.given,
            "sha256": self.file.sha256,
            "loaded": len(self.fitting),
            "new": list(self.new),
            "unused": list(self.unused),
        }


def read_weights(given: str) -> WeightsFile:
    """A safetensors file, a torch state dict, or the folder of a student or of a run that has one.

    Nothing in it is run. Raises ConfigError if it cannot be read, or holds no weights.
    """
    path = _file_of(given)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"--pretrained {path} cannot be read: {error.strerror}") from error
    tensors = _tensors(data, given)
    if not tensors:
        raise ConfigError(f"--pretrained {given} holds no weights: no name in it has a tensor")
    for name, tensor in tensors.items():
        _check_tensor(name, tensor, given)
    own = path.name == WEIGHTS_FILE and path.with_name(CARD_FILE).is_file()
    classes = read_card(path.parent).classes if own else None
    return WeightsFile(given, hashlib.sha256(data).hexdigest(), tensors, classes)


def fit(
    file: WeightsFile, student: Normalised, classes: tuple[str, ...], shape: tuple[int, int, int]
) -> Pretrained:
    """The tensors of a file that fit a student of ``classes`` and of images ``shape``.

    A classifier stays new if it is known to tell other classes apart, or the same in another order.
    Raises ConfigError if they are less than half of the parameters beside classifiers and branches.
    """
    known = _by_any_name(file.tensors)
    classifiers = _classifiers(student.network, shape)
    kept_new = classifiers if file.classes not in (None, classes) else frozenset()
    fitting: dict[str, Tensor] = {}
    used, new = set(), []
    for key, mine in student.state_dict().items():
        if key in OF_STUDENTS:
            continue
        names = _names_of(key, student.network)
        source = next((known[name] for name in names if name in known), None)
        if source is None or key in kept_new or not _alike(file.tensors[source], mine):
            new.append(key.removeprefix("network."))
            continue
        used.add(source)
        fitting[key] = file.tensors[source].to(mine.dtype).contiguous().clone()
    unused = [name for name in file.tensors if name not in used and name not in OF_STUDENTS]
    pretrained = Pretrained(file, fitting, tuple(new), tuple(unused))
    _check_fits(pretrained, student, classifiers)
    return pretrained


def _alike(theirs: Tensor, mine: Tensor) -> bool:
    """Whether one can stand for the other: whole numbers are no weights."""
    return (theirs.shape, theirs.is_floating_point()) == (mine.shape, mine.is_floating_point())


def _file_of(given: str) -> Path:
    refuse_uri(given, "--pretrained")
    path = Path(given)
    if not path.is_dir():
        return path
    students = sorted(path.glob(f"students/*/{WEIGHTS_FILE}"))
    if len(students) > 1:
        names = ", ".join(str(student.parent) for student in students)
        raise ConfigError(f"--pretrained {given} has {len(students)} students; name one of {names}")
    return students[0] if students else path / WEIGHTS_FILE


def _tensors(data: bytes, given: str) -> dict[str, Tensor]:
    """The tensors by name; ConfigError if it is no file of weights."""
    try:
        if data[8:9] == b"{":  # after the length of a safetensors file's head
            return safetensors.torch.load(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch warns of may load all the same
            found: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (
        *(safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, ValueError),
        *(EOFError, LookupError, TypeError, AttributeError),
    ) as error:
        reason = one_line(error).partition(" (1)")[0]  # where torch's advice to trust it begins
        raise ConfigError(
            f"--pretrained {given} is neither a safetensors file nor a torch state dict, which alone "
            f"are read, for they run no code: {reason}"
        ) from error
    for _ in NESTED:  # deeper nobody puts it, and a dict may hold itself
        key = next((k for k in NESTED if isinstance(found, Mapping) and k in found), None)
        found = found if key is None else found[key]
    entries = found.items() if isinstance(found, Mapping) else ()
    return {str(name): value for name, value in entries if isinstance(value, Tensor)}


def _check_tensor(name: str, tensor: Tensor, given: str) -> None:
    """Raise ConfigError for what is no plain tensor of real numbers, all of which float32 holds."""
    plain = (
        tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    )
    if not plain or tensor.is_complex():
        raise ConfigError(
            f"--pretrained {given} holds {name} as {tensor.dtype}, {tensor.layout} on {tensor.device}; only "
            "plain tensors of real numbers are read"
        )
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ConfigError(
            f"--pretrained {given} is damaged: {name} of shape {list(tensor.shape)} has more numbers than "
            "are in the file"
        )
    if tensor.is_floating_point() and not tensor.float().isfinite().all():
        raise ConfigError(f"--pretrained {given} is damaged: {name} is not finite everywhere")


def _stripped(name: str) -> Iterator[str]:
    """The name, and what is left of it as prefixes are taken off."""
    yield name
    while prefix := next((p for p in PREFIXES if name.startswith(p)), None):
        name = name.removeprefix(prefix)
        yield name


def _by_any_name(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The file's own name by each name that it goes by; the least stripped one first."""
    known = {name: name for name in tensors}
    for name in tensors:
        for short in _stripped(name):
            known.setdefault(short, name)
    return known


def _names_of(key: str, network: nn.Module) -> Iterator[str]:
    """What a student's tensor may be called in a file, without exits too."""
    yield from _stripped(key)
    if isinstance(network, MultiExit):
        plain = network.name_without_exits(key.removeprefix("network."))
        if plain is not None:
            yield from _stripped(plain)


def _classifiers(network: nn.Module, shape: tuple[int, int, int]) -> frozenset[str]:
    """The student's names of the tensors of its classifier, or of all exits' ones."""
    if isinstance(network, MultiExit):
        found = {id(module) for module in network.classifiers}
    else:
        found = {id(observe(network, {}, shape).classifier)}
    return frozenset(
        f"network.{name}.{key}".replace("..", ".")
        for name, module in network.named_modules()
        if id(module) in found
        for key in module.state_dict()
    )


def _check_fits(found: Pretrained, student: Normalised, classifiers: frozenset[str]) -> None:
    """Raise ConfigError, with examples, if most of the network would stay new."""
    body = {
        key: parameter.numel()
        for key, parameter in student.named_parameters()
        if key not in classifiers and not key.startswith("network.branches.")
    }
    loaded = sum(size for key, size in body.items() if key in found.fitting)
    if loaded * 2 >= sum(body.values()):
        return
    missing = next(key for key in body if key not in found.fitting).removeprefix("network.")
    shape = list(student.get_parameter(f"network.{missing}").shape)
    theirs = next(((n, list(found.file.tensors[n].shape)) for n in found.unused), None)
    example = f", and the file has {theirs[0]} of shape {theirs[1]}" if theirs else ""
    raise ConfigError(
        f"--pretrained {found.file.given} is of another network: less than half of this one is in it; "
        f"{missing} of shape {shape} is not{example}"
    )
