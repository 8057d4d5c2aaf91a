"""The services that a driver needs: that one of them ended is noticed at once, and said in a sentence.

Ray itself ends the driver where its raylet or its GCS is gone, after 15 to 60 seconds and with a dump,
so that nobody would write down how the run ended.
"""

import contextlib
import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

import psutil

from cohort.errors import RunError
from cohort.runtime import private_ray

SERVICES = ("raylet", "gcs_server")
SECONDS = 0.5
"""Between two looks."""
RARELY = 20
"""Looks between two at who the services' own processes are, and at a GCS elsewhere."""
ANSWER_SECONDS = 5.0
"""Within which a GCS elsewhere answers."""
SILENT_SECONDS = 30.0
"""Without an answer of it: one that is started again, as clusters may do, takes less. Ray waits for 60."""
SIGNAL = signal.SIGUSR2
"""By which the main thread, which may wait in Ray, is told."""


_gone: list[str] = []


class RayGoneError(RunError):
    """Ray has ended under a run, and with it all its processes: nothing can be recovered here."""

    def __init__(self) -> None:
        super().__init__(f"Ray ended under the run ({_gone[0]}); --resume the run")


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


Look = Callable[[], str | None]
"""What has ended, for the user; None as long as nothing has."""


@contextlib.contextmanager
def guarded(cluster: str | None = None) -> Iterator[None]:
    """Inside, RayGoneError is raised in the main thread once a service of this process's Ray has ended.

    What a Ray of one's own leaves behind is ended. Of a ``cluster`` that was joined, host:port of its
    GCS, the GCS and this node's raylet are looked at. In other threads nothing is noticed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    services = _Services(_of_this_process() if cluster is None else _of_this_node())
    guard = _Guard([services] if cluster is None else [services, Distant(cluster)])
    before = signal.signal(SIGNAL, guard.tell)
    guard.start()
    try:
        yield
    finally:
        guard.stop()
        signal.signal(SIGNAL, before)
        if is_gone() and cluster is None:
            services.end_workers()


class _Guard(threading.Thread):
    """Looks until something has ended, or it is to stop."""

    def __init__(self, looks: Sequence[Look]) -> None:
        super().__init__(daemon=True, name="guard of Ray")
        self._looks = looks
        self._stopping = threading.Event()

    def run(self) -> None:
        """Look, and tell the main thread."""
        while not self._stopping.wait(SECONDS):
            for look in self._looks:
                if reason := look():
                    _gone.append(reason)
                    signal.pthread_kill(threading.main_thread().ident or 0, SIGNAL)
                    return

    def tell(self, number: int, frame: FrameType | None) -> None:
        """Raise it, in the main thread."""
        raise RayGoneError

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        self.join()


class _Services:
    """A look at processes of this machine."""

    def __init__(self, services: Sequence[psutil.Process]) -> None:
        self._services = {process: process.name() for process in services}
        self._workers: list[psutil.Process] = []
        self._looks = itertools.count()

    def __call__(self) -> str | None:
        """Which of them has ended."""
        for process, name in self._services.items():
            if _has_ended(process):
                return f"its {name} was killed, perhaps for memory"
        if next(self._looks) % RARELY == 0:
            with contextlib.suppress(psutil.NoSuchProcess):  # the next look finds it out
                self._workers = [
                    child for each in self._services for child in each.children(recursive=True)
                ]
        return None

    def end_workers(self) -> None:
        """End those that served them."""
        for process in self._workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


class Distant:
    """A look at the GCS of a cluster, which may be anywhere.

    Args:
        address: host:port.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._answered = time.monotonic()
        self._looks = itertools.count()

    def __call__(self) -> str | None:
        """That it has been silent for too long."""
        silent = time.monotonic() - self._answered
        if silent < SILENT_SECONDS and next(self._looks) % RARELY:
            return None
        if private_ray.is_there(self._address, ANSWER_SECONDS):
            self._answered = time.monotonic()
            return None
        if silent < SILENT_SECONDS:
            return None
        return f"the cluster's GCS at {self._address} has not answered for {silent:.0f} s"


def _of_this_process() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if each.name() in SERVICES]


def _of_this_node() -> list[psutil.Process]:
    """The raylet that this process has joined, whoever started it."""
    socket = private_ray.raylet_socket()
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # another user's, or just ended
            if process.name() == SERVICES[0] and any(socket in word for word in process.cmdline()):
                found.append(process)
    return found


def _has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
