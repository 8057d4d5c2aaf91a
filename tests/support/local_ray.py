"""A Ray for a test module: one of its own, or the one that a process of the tests keeps for all."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import tests.support.environment  # noqa: F401 - before Ray is imported

# isort: split
import ray
from ray.cluster_utils import Cluster

from cohort.runtime import private_ray
from tests.support.command import wait_until
from tests.support.meetings import MEETING
from tests.support.networks import FUSE

CPUS = 4
"""That the shared Ray believes in."""
_shared: list[Cluster] = []


@contextmanager
def local_ray(cpus: int) -> Iterator[None]:
    """Ray on this machine, told that it has so many CPUs, which ends with the block."""
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
def shared_ray(place: Path) -> Iterator[None]:
    """This process joins a Ray of four CPUs, which goes on after the block: to start one takes seconds.

    All of its processes see ``place`` where ``MEETING`` says, and the fuse of
    ``tests.support.networks`` in it.
    """
    if _shared and _shared[0].head_node.dead_processes():
        end_shared_ray()
    if not _shared:
        _shared.append(_started())
    seen = Path(_shared[0].head_node.get_temp_dir_path()) / "place"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MEETING, str(place))
        patch.setenv(FUSE, str(place / "fuse"))
        seen.unlink(missing_ok=True)
        seen.symlink_to(place)
        private_ray.join(_shared[0].address, 5.0, log_to_driver=False, logging_level="ERROR")
        try:
            wait_until(lambda: ray.available_resources().get("CPU") == CPUS)
            yield
        finally:
            ray.shutdown()


def end_shared_ray() -> None:
    """The next block that asks for it starts another."""
    while _shared:
        _shared.pop().shutdown()


def _started() -> Cluster:
    """A Ray whose processes look for meetings and fuses where each module's place will be."""
    folder = tempfile.mkdtemp(prefix="ray-")
    os.mkdir(os.path.join(folder, "ray"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)  # where Cluster writes its address, beside no other
        patch.setenv(MEETING, f"{folder}/place")
        patch.setenv(FUSE, f"{folder}/place/fuse")
        node = {"num_cpus": CPUS, "num_gpus": 0, "temp_dir": folder, "include_dashboard": False}
        with private_ray.on_loopback():
            cluster = Cluster(
                initialize_head=True, head_node_args={**node, "node_ip_address": "127.0.0.1"}
            )
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return cluster


@contextmanager
def ray_with_fuse(cpus: int) -> Iterator[Path]:
    """A Ray, and the file whose presence arms the faults of ``tests.support.networks``.

    Its place is in the environment before Ray starts, so that all its processes inherit it.
    """
    with tempfile.TemporaryDirectory() as folder, meeting_ray(cpus, Path(folder)):
        yield Path(folder) / "fuse"


@contextmanager
def meeting_ray(cpus: int, place: Path) -> Iterator[Path]:
    """A Ray of so many CPUs whose processes know where to meet, and where the fuse is."""
    if cpus == CPUS:
        with shared_ray(place):
            yield place
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MEETING, str(place))
        patch.setenv(FUSE, str(place / "fuse"))
        with local_ray(cpus):
            yield place
