"""What `--capture` and `--compile` need of the machine, and the compiling of a network."""

import importlib.util
import os
import shutil
import sys
import warnings
from typing import Any

import torch
from torch import nn

from cohort.config import TrainingConfig
from cohort.errors import ConfigError


def compiled(forward: nn.Module) -> nn.Module:
    """The same module, compiled when it is first called; its parameters are those of ``forward``."""
    # It advises a run in fp32 to round its products: --precision has been asked about that.
    warnings.filterwarnings("ignore", "TensorFloat32 tensor cores for float32 matrix")
    wrapped: Any = torch.compile(forward, dynamic=False)
    assert isinstance(wrapped, nn.Module)
    return wrapped


def check_machine(config: TrainingConfig, *, on_gpu: bool) -> None:
    """Raise ConfigError for a capture or a compilation that is not to be had where students live."""
    if config.capture == "on" and not on_gpu:
        raise ConfigError(
            "--capture is on, but students train on the CPU, where there are no CUDA graphs; "
            "use --capture auto"
        )
    if config.compile and (missing := missing_compiler(on_gpu=on_gpu)):
        raise ConfigError(f"--compile needs {missing}, which is not on this machine; leave it out")


def missing_compiler(*, on_gpu: bool) -> str | None:
    """What torch.compile would look for in vain: for a GPU Triton and its C compiler, else C++."""
    if not on_gpu:
        usual = "clang++" if sys.platform == "darwin" else "g++"
        return _missing_program("a C++ compiler", os.environ.get("CXX") or usual)
    if importlib.util.find_spec("triton") is None:
        return "the package triton"
    own = os.environ.get("CC")
    return _missing_program("a C compiler", *([own] if own else ["gcc", "clang"]))


def _missing_program(what: str, *names: str) -> str | None:
    if any(shutil.which(name) for name in names):
        return None
    return f"{what} ({' or '.join(names)})"
