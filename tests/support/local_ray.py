"""A Ray for one test module, with a temporary folder of its own."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# Set before Ray is imported: no token file in the home folder of whoever runs the tests.
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - beside other tests its processes would starve
os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"  # one process less to wait for
os.environ["PYTHONPATH"] = os.pathsep.join(
    [os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])]
)

import ray

from cohort.runtime import private_ray
from tests.support.networks import FUSE


@contextmanager
def local_ray(cpus: int) -> Iterator[None]:
    """Ray on this machine, told that it has so many CPUs."""
    folder = tempfile.mkdtemp(prefix="ray-")  # short: sockets lie in it
    try:
        private_ray.start_on_loopback(
            num_cpus=cpus,
            num_gpus=0,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=folder,
        )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def ray_with_fuse(cpus: int) -> Iterator[Path]:
    """The same, and the file whose presence arms the faults of ``tests.support.networks``.

    Its place is in the environment before Ray starts, so that all its processes inherit it.
    """
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        fuse = Path(folder) / "fuse"
        patch.setenv(FUSE, str(fuse))
        with local_ray(cpus):
            yield fuse


@pytest.fixture(scope="module")
def ray_of_four() -> Iterator[None]:
    """A Ray that believes in four cores, shared by a module's tests."""
    with local_ray(4):
        yield
