"""A Ray to run on: a local one of our own, or a running cluster that we join."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from cohort.runtime import private_ray

os.environ.update(private_ray.FOR_RAY | os.environ)

import ray

from cohort.config import LOCAL
from cohort.errors import ConfigError, RunError
from cohort.imports import one_line
from cohort.runtime.guard import forget, guarded
from cohort.runtime.placement import Node
from cohort.runtime.reaper import outlived
from cohort.runtime.session_folders import tidied

QUIET: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
CONNECT_SECONDS = 5.0
"""Within which a cluster answers, if there is one."""


@contextmanager
def ray_session(address: str | None = None) -> Iterator[None]:
    """Ray inside the block. A Ray that is already initialised is used and left running.

    A local Ray listens on the loopback interface only, has no dashboard, keeps its log lines out of the
    user's terminal, and leaves nothing on disk but after a failure, whose error has a note of where.

    Raises ConfigError if at ``address`` no cluster answers, or one that refuses this command, RunError
    if a local Ray does not start.
    """
    if ray.is_initialized():
        yield
        return
    own = address is None or address == LOCAL
    with private_ray.auth_mode_kept():
        cluster = None
        if own:
            _start_local()
        else:
            cluster = _join(str(address))
        with (
            tidied(Path(private_ray.session_folder())) if own else nullcontext(),
            private_ray.environment(private_ray.UNREAD, "1"),
            outlived() if own else nullcontext(),
            _ending(),
            guarded(cluster),
        ):
            yield


def cluster_nodes() -> list[Node]:
    """The living nodes of the cluster that this process has joined, and what each has in total."""
    return [
        Node(
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
            memory=node["Resources"].get("memory", 0.0),
        )
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]


@contextmanager
def _ending() -> Iterator[None]:
    """After the block there is no Ray in this process, and of one of our own no process either."""
    try:
        yield
    finally:
        ray.shutdown()
        forget()


def _start_local() -> None:
    try:
        private_ray.start_on_loopback(include_dashboard=False, **QUIET)
    except Exception as error:  # Ray has no narrower one for processes that did not start in time
        raise RunError(
            f"Ray did not start on this machine, which may be too busy: {one_line(error)}"
        ) from error


def _join(address: str) -> str:
    """Join a cluster; returns where its GCS is."""
    try:
        private_ray.join(address, CONNECT_SECONDS, **QUIET)
    except private_ray.RefusedError as error:
        raise ConfigError(
            f"--address is {address!r}, but the Ray cluster there refuses this command: {error}; "
            "give all nodes the head's ~/.ray/auth_token, and set RAY_AUTH_MODE=token on all"
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"--address is {address!r}, but no Ray cluster answers there ({reason}); "
            "start one with `ray start --head`, or use --address local"
        ) from error
    gcs: str = ray.get_runtime_context().gcs_address
    return gcs
