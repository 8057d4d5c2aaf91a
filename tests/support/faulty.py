"""``--students tests.support.faulty:faulty``: a resnet8 with any fault, at any phase of a step.

The fuse of ``tests.support.networks`` says which, as JSON: ``fault``, ``phase`` and ``step``. The
process that burns it writes down when.
"""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cohort.models.registry import build_network
from tests.support.networks import FUSE, consume_fuse

FIRED = "-fired"
"""Behind the fuse's name: the file that says when it was burnt, in seconds since the epoch."""
PAUSE = 20.0
"""Seconds after which a process that stops itself for a while goes on."""


def killed_by(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def stopped_for_a_while() -> None:
    going_on = f"sleep {PAUSE}; kill -CONT {os.getpid()}"
    subprocess.Popen(["sh", "-c", going_on], start_new_session=True)
    os.kill(os.getpid(), signal.SIGSTOP)


def raised() -> None:
    raise ArithmeticError("the network of this test raises here")


FAULTS: Mapping[str, Callable[[], None]] = {
    "SIGKILL": lambda: killed_by(signal.SIGKILL),
    "SIGTERM": lambda: killed_by(signal.SIGTERM),
    "SIGSTOP": lambda: killed_by(signal.SIGSTOP),
    "SIGSTOP for 20 s": stopped_for_a_while,
    "exception": raised,
}
PHASES = ("predict", "exchange", "learn", "checkpoint", "evaluation")


class Faulty(nn.Module):
    """Counts its forwards in training; at the chosen one, or at the phase after it, it acts."""

    def __init__(self, num_classes: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.network = build_network("resnet8", num_classes=num_classes, image_shape=image_shape)
        self.forwards = 0
        self.register_state_dict_pre_hook(lambda *_: self._reach("checkpoint"))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            self._reach("evaluation")
            logits: Tensor = self.network(x)
            return logits
        self.forwards += 1
        self._reach("predict")
        logits = self.network(x)
        if self._chosen("exchange"):  # when the posterior has left, or is about to
            threading.Timer(0.003, self._reach, ["exchange"]).start()
        if logits.requires_grad:
            logits.register_hook(lambda _: self._reach("learn"))
        return logits * torch.nan if self._burnt("NaN", "predict") else logits

    def _chosen(self, phase: str) -> dict[str, Any] | None:
        """The fault, if it is now."""
        try:
            spec: dict[str, Any] = json.loads(Path(os.environ[FUSE]).read_text() or "{}")
        except (OSError, KeyError):
            return None
        return spec if spec.get("phase") == phase and self.forwards >= spec["step"] else None

    def _burnt(self, fault: str, phase: str) -> bool:
        spec = self._chosen(phase)
        if spec is None or spec["fault"] != fault or not consume_fuse():
            return False
        Path(os.environ[FUSE] + FIRED).write_text(repr(time.time()))
        return True

    def _reach(self, phase: str) -> None:
        for fault, act in FAULTS.items():
            if self._burnt(fault, phase):
                act()


def faulty(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    return Faulty(num_classes, image_shape)
