"""The services of a Ray of our own: that one of them ended is noticed at once, and said in a sentence.

Ray itself ends the driver where its raylet or its GCS is gone, after 15 to 60 seconds and with a dump,
so that nobody would write down how the run ended.
"""

import contextlib
import itertools
import signal
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

import psutil

from cohort.errors import RunError

SERVICES = ("raylet", "gcs_server")
SECONDS = 0.5
"""Between two looks."""
WORKERS_LOOKS = 20
"""Between two at who the services' own processes are."""
SIGNAL = signal.SIGUSR2
"""By which the main thread, which may wait in Ray, is told."""


_gone: list[str] = []


class RayGoneError(RunError):
    """Ray has ended under a run, and with it all its processes: nothing can be recovered here."""

    def __init__(self) -> None:
        super().__init__(
            f"Ray ended under the run (its {_gone[0]} was killed, perhaps for memory); --resume the run"
        )


def is_gone() -> bool:
    """Whether the Ray of this process has ended: what would ask it to clean up would wait for it."""
    return bool(_gone)


def forget() -> None:
    """What ended is over: another Ray may serve this process from now on."""
    _gone.clear()


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """What is raised inside after Ray has ended is RayGoneError, whatever it looked like."""
    try:
        yield
    except Exception as error:
        if is_gone():
            raise RayGoneError from error
        raise


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Inside, RayGoneError is raised in the main thread once a service of this process's Ray has ended.

    What such a Ray leaves behind is ended. In other threads nothing is noticed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    guard = _Guard([p for p in psutil.Process().children() if p.name() in SERVICES])
    before = signal.signal(SIGNAL, guard.tell)
    guard.start()
    try:
        yield
    finally:
        guard.stop()
        signal.signal(SIGNAL, before)


class _Guard(threading.Thread):
    """Looks after processes until one of them has ended, or it is to stop."""

    def __init__(self, services: Sequence[psutil.Process]) -> None:
        super().__init__(daemon=True, name="guard of Ray")
        self._services = {process: process.name() for process in services}
        self._workers: list[psutil.Process] = []
        self._stopping = threading.Event()

    def run(self) -> None:
        """Look, and tell the main thread."""
        looks = itertools.count()
        while not self._stopping.wait(SECONDS):
            if ended := [name for process, name in self._services.items() if _has_ended(process)]:
                _gone.append(ended[0])
                signal.pthread_kill(threading.main_thread().ident or 0, SIGNAL)
                return
            if next(looks) % WORKERS_LOOKS == 0:
                with contextlib.suppress(psutil.NoSuchProcess):  # the next look finds it out
                    self._workers = [
                        child for each in self._services for child in each.children(recursive=True)
                    ]

    def tell(self, number: int, frame: FrameType | None) -> None:
        """Raise it, in the main thread."""
        raise RayGoneError

    def stop(self) -> None:
        """Look no more; end what is left of a Ray that has ended."""
        self._stopping.set()
        self.join()
        for process in self._workers if is_gone() else ():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
