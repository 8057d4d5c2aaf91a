"""How exactly numbers are multiplied: ``--precision``, as torch's settings and as autocast.

``fp32`` means float32 on every device: unless told otherwise, torch rounds the factors of a GPU's
convolutions to the 10 bits of TF32. ``tf32`` lets a GPU do that, in matrix products too. ``bf16`` is
autocast, and float32 for all that autocast leaves alone. Whatever a run trains in, it is measured in
fp32.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from cohort.config import Precision, check_precision
from cohort.errors import ConfigError

backends: Any = torch.backends  # whose modules have properties, which no type checker sees
cudnn, mkldnn = backends.cudnn, backends.mkldnn
ON_GPU = (backends.cuda.matmul, cudnn.conv, cudnn.rnn)
ON_CPU = (mkldnn.matmul, mkldnn.conv, mkldnn.rnn)
"""torch's settings by operation: ``ieee``, ``tf32``, ``bf16`` or, as the backend says, ``none``."""


def check_device(precision: Precision, device: torch.device) -> None:
    """Raise ConfigError for tf32 on a device that has none: a CPU, or a GPU older than Ampere."""
    check_precision(precision, on_gpu=device.type == "cuda")
    if precision == "tf32" and not torch.cuda.is_tf32_supported():
        raise ConfigError(
            f"--precision is tf32, which {torch.cuda.get_device_name()} does not have; use fp32 or bf16"
        )


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """What a training step's forward runs in; it may be entered again and again."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def set_precision(precision: Precision) -> None:
    """Float32 products of this process are from now on as a run of this precision has them."""
    tf32 = precision == "tf32"
    # By the old settings too: parts of torch read them, and to read them is an error once they and
    # the new ones differ.
    backends.cuda.matmul.allow_tf32 = tf32
    cudnn.allow_tf32 = tf32
    for operation in ON_GPU:
        operation.fp32_precision = "tf32" if tf32 else "ieee"
    for operation in ON_CPU:
        operation.fp32_precision = "ieee"


@contextmanager
def in_precision(precision: Precision) -> Iterator[None]:
    """``set_precision`` inside; afterwards the process has the settings that it had."""
    give_back = _settings()
    set_precision(precision)
    try:
        yield
    finally:
        give_back()


@contextmanager
def exactly(device: torch.device) -> Iterator[None]:
    """In fp32 inside, whatever a run trains in and autocast is on outside: how all are measured."""
    with in_precision("fp32"), torch.autocast(device.type, enabled=False):
        yield


def _settings() -> Callable[[], None]:
    """What puts this process's settings back as they are now."""
    matmul = _unless_mixed(torch.get_float32_matmul_precision, "highest")
    convolutions = _unless_mixed(lambda: cudnn.allow_tf32, True)
    of_gpu = [_own(operation, cudnn) for operation in ON_GPU]
    of_cpu = [_own(operation, mkldnn) for operation in ON_CPU]

    def give_back() -> None:
        torch.set_float32_matmul_precision(matmul)
        cudnn.allow_tf32 = convolutions
        for operation, value in zip((*ON_GPU, *ON_CPU), (*of_gpu, *of_cpu), strict=True):
            operation.fp32_precision = value

    return give_back


def _unless_mixed(read: Callable[[], Any], default: Any) -> Any:
    """An old setting, or torch's default of it where the new ones forbid to read it."""
    try:
        return read()
    except RuntimeError:
        return default


def _own(operation: Any, backend: Any) -> str:
    """An operation's own setting: ``none`` where it has the one of its backend."""
    value: str = operation.fp32_precision
    return "none" if value == backend.fp32_precision else value
