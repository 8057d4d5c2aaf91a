"""A Ray that ends under the process that started it."""

import shutil
import socket
import subprocess
import time

import pytest

from cohort.runtime import guard, private_ray
from cohort.runtime.guard import (
    SERVICES,
    Distant,
    RayGoneError,
    explained,
    forget,
    guarded,
    is_gone,
)


@pytest.fixture(autouse=True)
def another_ray():
    """May follow each test, as each session."""
    yield
    forget()
    assert not is_gone()


@pytest.fixture
def services(tmp_path):
    """Processes with the names of Ray's own, which only wait."""
    started = []
    for name in SERVICES:
        program = tmp_path / name
        shutil.copy(shutil.which("sleep"), program)
        started.append(subprocess.Popen([program, "60"]))
    yield dict(zip(SERVICES, started, strict=True))
    for process in started:
        process.kill()
        process.wait()


@guarded()
def wait_for_the_death_of(service):
    service.kill()
    time.sleep(50)


@pytest.mark.parametrize("name", SERVICES)
def test_the_main_thread_learns_which_service_has_ended(services, name):
    words = rf"^Ray ended under the run \(its {name} was killed, perhaps for memory\); --resume the run$"
    with pytest.raises(RayGoneError, match=words):
        wait_for_the_death_of(services[name])
    assert is_gone()


def test_what_is_raised_afterwards_is_explained(services):
    """Torch and Ray turn an error that comes while they work into one of their own."""

    @explained()
    def disguised():
        try:
            wait_for_the_death_of(services["raylet"])
        except RayGoneError as error:
            raise SystemError("returned a result with an exception set") from error

    with pytest.raises(RayGoneError, match="raylet"):
        disguised()


def test_a_ray_that_lives_disturbs_nobody(services):
    with guarded():
        time.sleep(1.2)
    assert not is_gone()
    with pytest.raises(ZeroDivisionError), explained(), guarded():
        raise ZeroDivisionError


def test_of_a_cluster_that_was_joined_this_nodes_raylet_is_looked_at(tmp_path, monkeypatch):
    """Whoever started it; another one's end is nobody's business."""
    program = tmp_path / "raylet"
    shutil.copy(shutil.which("sleep"), program)
    ours, foreign = (subprocess.Popen([program, seconds]) for seconds in ("60.125", "60.5"))
    monkeypatch.setattr(private_ray, "raylet_socket", lambda: "60.125")
    monkeypatch.setattr(private_ray, "is_there", lambda address, seconds: True)
    kill_in_a_cluster(foreign, 1.2)
    assert not is_gone()
    with pytest.raises(RayGoneError, match="its raylet was killed"):
        kill_in_a_cluster(ours, 50)


@guarded("head:6379")
def kill_in_a_cluster(service, seconds):
    service.kill()
    service.wait()
    time.sleep(seconds)


@pytest.mark.parametrize("answering", [True, False])
def test_a_gcs_elsewhere_that_is_silent_for_long_has_ended(monkeypatch, answering):
    clock, asked = [0.0], []
    monkeypatch.setattr(guard.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(
        private_ray, "is_there", lambda address, seconds: asked.append(address) or answering
    )
    look, found = Distant("head:6379"), []
    for clock[0] in range(0, 40, 2):
        found.append(look())
    told = "the cluster's GCS at head:6379 has not answered for 30 s"
    assert found == [None] * 20 if answering else found[15] == told and not any(found[:15])
    assert set(asked) == {"head:6379"}


def test_who_does_not_listen_is_not_there():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not private_ray.is_there(f"127.0.0.1:{silent.getsockname()[1]}", 0.2)
