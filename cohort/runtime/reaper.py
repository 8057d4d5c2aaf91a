"""Who ends what a Ray of our own leaves when this process is killed, and can do nothing any more.

Ray's services end with it, and workers with them; but two agents of the raylet try for a minute to tell
somebody of its death.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

import psutil

PROGRAM = """
import signal, sys, time
sys.stdin.read()
time.sleep(4)
for process in map(int, sys.argv[1:]):
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""
"""Waits until nobody holds the other end of its input, and gives Ray's processes time to end."""


@contextlib.contextmanager
def outlived() -> Iterator[None]:
    """Inside, should this process be killed, all that its Ray has started ends within seconds.

    Where the system does not name processes for good, as Linux does, the agents end when they do.
    """
    if not hasattr(os, "pidfd_open"):
        yield
        return
    below = [each for service in psutil.Process().children() for each in service.children()]
    with contextlib.ExitStack() as stack:
        files = [file for each in below if (file := _opened(each.pid, stack)) is not None]
        command = [sys.executable, "-I", "-S", "-c", PROGRAM, *map(str, files)]
        # In a session of its own, or a terminal's Ctrl-C would end it before its time.
        reaper = subprocess.Popen(
            command, stdin=subprocess.PIPE, pass_fds=files, start_new_session=True
        )
        try:
            yield
        finally:
            reaper.kill()
            reaper.communicate()


def _opened(process: int, stack: contextlib.ExitStack) -> int | None:
    """A file that stands for a process, and never for a later one of its number."""
    try:
        file = os.pidfd_open(process)
    except ProcessLookupError:
        return None
    stack.callback(os.close, file)
    return file
