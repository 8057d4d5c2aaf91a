"""A trained student, or one exit of it alone, in a form that other programs read.

Whatever the format: pixels in [0, 1], float32 [B, C, H, W] with any B, in; logits [B, classes] out.
"""

import dataclasses
import importlib.util
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from cohort.errors import ConfigError
from cohort.files import atomic_write, refuse_uri
from cohort.imports import one_line
from cohort.learning.learner import WEIGHTS_FILE, weights_bytes
from cohort.learning.student_files import CARD_FILE, ModelCard, read_card, trained_student
from cohort.models.early_exit import MultiExitStudent
from cohort.models.normalised import Normalised

Files = dict[str, bytes]


def export_exit(
    path: str | Path,
    exit: int | None,
    destination: str | Path,
    format: str,
    *,
    trust_code: bool = False,
) -> Path:
    """Write one exit of a trained student into a new folder; returns the file that holds the network.

    Args:
        path: the student's folder.
        exit: number of the exit, from 1, the shallowest; None for the deepest, and for a student
            that has no exits.
        destination: a folder that is new or empty.
        format: ``safetensors``, the folder of a student, which ``load_student`` reads;
            ``torch_export``, a file for ``torch.export.load``; or ``onnx``.
        trust_code: as in ``load_student``.

    Raises:
        ConfigError: one sentence, if there is no such exit, student or format, something lies at
            ``destination``, a package is missing, the network cannot be exported, or is code that is
            not trusted.
    """
    if format not in WRITERS:
        *formats, last = WRITERS
        raise ConfigError(f"--format is {format!r}; it must be {', '.join(formats)} or {last}")
    refuse_uri(destination, "--output")
    destination = Path(destination)
    check_free(destination)
    card, student = select(Path(path), exit, trust_code)
    # The files are read on machines of all kinds, so they get the common layout of weights.
    student = student.to(memory_format=torch.contiguous_format)
    files = WRITERS[format](student, card)
    try:
        for name, data in files.items():
            atomic_write(destination / name, data)
    except OSError as error:
        raise ConfigError(f"--output {destination} cannot be written: {error.strerror}") from error
    return destination / next(iter(files))


def check_free(destination: Path) -> None:
    """Raise ConfigError if exported files would lie among others."""
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise ConfigError(
            f"--output {destination} already holds something; name a folder that is new or empty"
        )


def select(path: Path, exit: int | None, trust_code: bool) -> tuple[ModelCard, Normalised]:
    """The student in a folder, or one exit of it alone, and the card that describes it."""
    card, student = read_card(path), trained_student(path, trust_code=trust_code)
    if isinstance(student, MultiExitStudent):
        exit = student.network.num_exits if exit is None else exit
        return dataclasses.replace(card, exit=exit), student.exit_alone(exit)
    if exit is not None:
        raise ConfigError(f"--exit is {exit}, but the student in {path} has no exits; leave it out")
    return card, student


def as_student(student: Normalised, card: ModelCard) -> Files:
    """The files of a student's folder."""
    return {WEIGHTS_FILE: weights_bytes(student), CARD_FILE: card.to_json().encode()}


def as_torch_export(student: Normalised, card: ModelCard) -> Files:
    """An ExportedProgram with a dynamic batch dimension."""
    file = io.BytesIO()
    with exporting(card):
        torch.export.save(program(student, card), file)
    return {"model.pt2": file.getvalue()}


def as_onnx(student: Normalised, card: ModelCard) -> Files:
    """An ONNX model with a dynamic batch dimension, from ``pixels`` to ``logits``."""
    if any(importlib.util.find_spec(package) is None for package in ("onnx", "onnxscript")):
        raise ConfigError("--format is onnx, which needs the extra: pip install 'cohort[export]'")
    with exporting(card):
        exported = torch.onnx.export(
            program(student, card), input_names=["pixels"], output_names=["logits"], verbose=False
        )
        assert exported is not None
        return {"model.onnx": exported.model_proto.SerializeToString()}


def program(student: Normalised, card: ModelCard) -> torch.export.ExportedProgram:
    """The student as torch.export's graph."""
    example = torch.zeros(2, *card.image_shape)  # torch.export takes a batch of 1 for a constant
    return torch.export.export(
        student, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )


@contextmanager
def exporting(card: ModelCard) -> Iterator[None]:
    """Whatever torch raises, as a ConfigError: the network does something that it cannot export."""
    try:
        yield
    except Exception as error:
        raise ConfigError(
            f"{card.network} cannot be exported: {one_line(error)}; --format safetensors can hold it"
        ) from error


WRITERS: dict[str, Callable[[Normalised, ModelCard], Files]] = {
    "safetensors": as_student,
    "torch_export": as_torch_export,
    "onnx": as_onnx,
}
"""How each format is written; the first of its files holds the network."""
