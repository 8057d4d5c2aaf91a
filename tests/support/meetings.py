"""Networks that wait for each other, or for what a study does: order is made, not hoped for.

``MEETING`` names a folder that all processes of a test see, with the folders of its studies in it.
"""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from torch import Tensor, nn

from tests.support.listening import listening
from tests.support.networks import FUSE, Wrapped, consume_fuse

MEETING = "COHORT_TEST_MEETING"
OF_TRIALS = "-of-trials"
"""Behind the name of the fuse that kills a trial."""
PATIENCE = 240.0
"""Seconds after which what is waited for will not come any more."""


class Meeting(Wrapped):
    """Waits at forward 3 until four processes have come there: two cohorts of two students.

    Says when it has gone on after its first epoch of ten steps, which the study then knows of.
    """

    def act(self, logits: Tensor) -> Tensor:
        if self.forwards == 3:
            come_to("four")
            wait_for(lambda: len(list(place("four").iterdir())) >= 4)
        if self.forwards == 12:
            come_to("second-epoch")
        return logits


class Hesitating(Meeting):
    """Does not end its first epoch before others have begun their second."""

    def act(self, logits: Tensor) -> Tensor:
        if self.forwards == 9:
            wait_for(lambda: place("second-epoch").exists())
        return super().act(logits)


class Interrupting(Wrapped):
    """Interrupts the study, as Ctrl-C does, once a trial has finished: the fuse names its process.

    Waits until the study has understood.
    """

    def act(self, logits: Tensor) -> Tensor:
        if self.forwards == 12 and "finished" in read("*/trials/*/summary.json"):
            fuse = Path(os.environ[FUSE])
            main = fuse.read_text() if fuse.exists() else ""
            if not consume_fuse():
                return logits
            os.kill(int(main), signal.SIGINT)
            wait_for(lambda: any(place().glob("*/stopping")))
        return logits


class KillingItsTrial(Wrapped):
    """Burns a fuse to kill the process of the trial whose student it is, the only one.

    Before, it arms the fuse of a ``dying`` peer, whose 12th forward has passed: the next one's.
    """

    def act(self, logits: Tensor) -> Tensor:
        if self.forwards == 13 and consume_fuse(OF_TRIALS):
            Path(os.environ[FUSE]).touch()
            (trial,) = [p for p in beside() if "ImplicitFunc" in "".join(p.cmdline()[:1])]
            trial.send_signal(signal.SIGKILL)
            wait_for(lambda: False)
        return logits


class Looking(Wrapped):
    """Notes, in a file of the place, what all processes of its Ray listen on while it trains."""

    def act(self, logits: Tensor) -> Tensor:
        if self.forwards == 3:
            raylet = psutil.Process().parent()
            assert raylet is not None
            place("listening").write_text(json.dumps(sorted(listening(raylet.parent()))))
        return logits


def beside() -> list[psutil.Process]:
    """The processes of this one's Ray."""
    raylet = psutil.Process().parent()
    assert raylet is not None
    return raylet.children()


def place(name: str = "") -> Path:
    """The folder, or one in it."""
    return Path(os.environ[MEETING]) / name


def come_to(name: str) -> None:
    """Leave a file with this process' number."""
    place(name).mkdir(exist_ok=True)
    (place(name) / str(os.getpid())).touch()


def read(pattern: str) -> str:
    """The text of all files that match."""
    return "".join(path.read_text() for path in place().glob(pattern))


def wait_for(condition: Callable[[], bool]) -> None:
    """Return when it holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what this process waited for did not come")
        time.sleep(0.01)


def meeting(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    return Meeting(num_classes, image_shape)


def hesitating(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    return Hesitating(num_classes, image_shape)


def interrupting(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    return Interrupting(num_classes, image_shape)


def killing_its_trial(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    return KillingItsTrial(num_classes, image_shape)


def looking(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    return Looking(num_classes, image_shape)
