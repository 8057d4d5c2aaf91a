"""How two public packages are asked to take steps of mutual learning; neither is needed to train.

Both keep all students in one process. ``pytorch-dml`` (imported as ``pydml``) has the simultaneous
schedule; ``KD-Lib`` goes through the students in turn, with a forward pass of both for every pair.
"""

import contextlib
import importlib.util
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from cohort.benchmark.against.config import Package
from cohort.data.source import Source
from cohort.errors import ConfigError

MODULES: dict[Package, str] = {"pytorch-dml": "pydml", "KD-Lib": "KD_Lib"}
TakeSteps = Callable[[range], None]


class Batches:
    """The batches of some steps as a package expects them: what can be iterated, with a ``dataset``."""

    def __init__(self, source: Source, steps: range) -> None:
        self.source = source
        self.steps = steps
        self.dataset = steps
        """Of which only the length is looked at, and no accuracy is used."""

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return map(self.source.batch, self.steps)


def check_installed(package: Package, folder: str | None) -> None:
    """Raise ConfigError, saying how to install it, if a package is not found."""
    if folder is not None and folder not in sys.path:
        sys.path.insert(0, folder)
    if importlib.util.find_spec(MODULES[package]) is None:
        where = folder or "packages"
        raise ConfigError(
            f"{package} is not installed; "
            f"`pip install --no-deps --target {where} pytorch-dml KD-Lib tqdm tensorboard` puts both "
            f"where --packages {where} finds them"
        )


def pytorch_dml(
    networks: Sequence[nn.Module], optimizers: Sequence[Optimizer], source: Source
) -> TakeSteps:
    """Steps of its ``DMLTrainer``, at temperature 1 as the paper's."""
    from pydml import DMLConfig, DMLTrainer

    device = str(next(networks[0].parameters()).device)
    trainer = DMLTrainer(networks, DMLConfig(temperature=1.0), device, optimizers)
    return lambda steps: trainer.train_epoch(Batches(source, steps), 0)


def kd_lib(
    networks: Sequence[nn.Module], optimizers: Sequence[Optimizer], source: Source
) -> TakeSteps:
    """Steps of its ``DML``, with the divergence of mutual learning and nothing to evaluate on."""
    device = str(next(networks[0].parameters()).device)
    dml = _kd_lib_module().DML

    def take(steps: range) -> None:
        train, test = Batches(source, steps), Batches(source, range(1))
        trainer = dml(networks, train, test, optimizers, divergence, device)
        trainer._evaluate_model = lambda network: (None, 0.0)
        trainer.train_students(epochs=1, plot_losses=False, save_model=False)

    return take


def divergence(own_BC: Tensor, peer_BC: Tensor) -> Tensor:
    """KL(softmax(peer) ‖ softmax(own)) of logits [B, C], summed over classes, mean over the batch."""
    return F.kl_div(F.log_softmax(own_BC, 1), F.softmax(peer_BC, 1), reduction="batchmean")


BUILD: dict[Package, Callable[..., TakeSteps]] = {"pytorch-dml": pytorch_dml, "KD-Lib": kd_lib}


def quietly(take: TakeSteps, *, autocast: bool, device: torch.device) -> TakeSteps:
    """The same without progress bars and lines; under bf16 autocast, if that is wanted."""

    def quiet(steps: range) -> None:
        silence = io.StringIO()
        with (
            contextlib.redirect_stdout(silence),
            contextlib.redirect_stderr(silence),
            torch.autocast(device.type, dtype=torch.bfloat16, enabled=autocast),
        ):
            take(steps)

    return quiet


def _kd_lib_module() -> ModuleType:
    """The one file of it that is needed: the package itself imports versions from 2021 of much else."""
    spec = importlib.util.find_spec(MODULES["KD-Lib"])
    assert spec is not None
    assert spec.submodule_search_locations is not None
    file = Path(spec.submodule_search_locations[0], "KD", "vision", "DML", "dml.py")
    alone = importlib.util.spec_from_file_location("kd_lib_dml", file)
    assert alone is not None
    assert alone.loader is not None
    module: Any = importlib.util.module_from_spec(alone)
    alone.loader.exec_module(module)
    return module  # type: ignore[no-any-return]
