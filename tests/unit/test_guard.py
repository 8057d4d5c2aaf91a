"""A Ray that ends under the process that started it."""

import shutil
import subprocess
import time

import pytest

from cohort.runtime.guard import SERVICES, RayGoneError, explained, forget, guarded, is_gone


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
