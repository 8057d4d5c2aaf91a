"""Processes of trials that were stopped are ended, and no others. See faults/table.py for a real study."""

import subprocess

import psutil
import pytest

from cohort.tuning.on_ray import stopped
from cohort.tuning.on_ray.stopped import EndStopped
from tests.support.command import wait_until


@pytest.fixture
def sleeping():
    """Starts a process of a name; stopped, if it is to be."""
    started = []

    def start(name, *, stopping):
        process = subprocess.Popen(["bash", "-c", f"exec -a '{name}' sleep 600"])
        started.append(process)
        seen = psutil.Process(process.pid)
        wait_until(lambda: seen.cmdline()[:1] == [name])
        if stopping:
            seen.suspend()
            wait_until(lambda: seen.status() == psutil.STATUS_STOPPED)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_who_is_ended(sleeping, tmp_path, monkeypatch):
    hanging = sleeping("ray::ImplicitFunc.train", stopping=True)
    others = [
        sleeping("ray::ImplicitFunc.train", stopping=False),
        sleeping("vim", stopping=True),  # which has the number of a trial that ended
    ]
    numbers = [process.pid for process in (hanging, *others)]
    stranger = sleeping("ray::ImplicitFunc.train", stopping=True)  # another study's
    (tmp_path / ".trials.lock").write_text("\n".join(map(str, [*numbers, 2**22 + 1])))
    told = []
    callback = EndStopped(tmp_path, told.append)
    callback.on_step_begin(1, [])
    assert told == []  # it is too early to look
    monkeypatch.setattr(stopped, "HANG_AFTER", 0.0)
    callback.on_step_begin(2, [])
    assert hanging.wait(10) == -9
    assert told == ["the process of a trial was stopped: ended"]
    assert [process.poll() for process in (*others, stranger)] == [None] * 3
