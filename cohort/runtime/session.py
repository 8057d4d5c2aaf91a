"""A Ray to run on: a local one of our own, or a running cluster that we join."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Ray reads these when it is imported, or in the processes that it starts.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # no GPU is no reason to warn
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "A worker died or was killed")  # we say it

import ray
from ray._private import ray_constants

from cohort.config import LOCAL
from cohort.errors import ConfigError, RunError
from cohort.imports import one_line
from cohort.runtime.placement import Node

QUIET: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
CONNECT_SECONDS = 5.0
UNREAD = "RAY_IGNORE_UNHANDLED_ERRORS"


@contextmanager
def ray_session(address: str | None = None) -> Iterator[None]:
    """Ray inside the block. A Ray that is already initialised is used and left running.

    A local Ray listens on the loopback interface only, has no dashboard, and keeps its log lines
    out of the user's terminal.

    Raises ConfigError if no cluster answers at ``address``, RunError if a local Ray does not start.
    """
    if ray.is_initialized():
        yield
        return
    _start_local() if address in (None, LOCAL) else _join(address)
    # When a student dies, posteriors that nobody will read hold its error; we have read it already.
    ours = os.environ.get(UNREAD) is None
    os.environ.setdefault(UNREAD, "1")
    try:
        yield
    finally:
        ray.shutdown()
        if ours:
            del os.environ[UNREAD]


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


def _start_local() -> None:
    # On Linux Ray turns a loopback address into one that other machines reach, and listens on all
    # interfaces; this switch, which is off on other systems, keeps it from doing so.
    may_cluster = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        ray.init("local", include_dashboard=False, _node_ip_address="127.0.0.1", **QUIET)
    except Exception as error:  # Ray has no narrower one for processes that did not start in time
        raise RunError(
            f"Ray did not start on this machine, which may be too busy: {one_line(error)}"
        ) from error
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = may_cluster


def _check_answers(address: str) -> None:
    """Raise OSError or ValueError unless something listens there: Ray would wait for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise ValueError("it must be auto or host:port")
    socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()


def _join(address: str) -> None:
    try:
        if address != "auto":
            _check_answers(address)
        ray.init(address, **QUIET)
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"--address is {address!r}, but no Ray cluster answers there ({reason}); "
            "start one with `ray start --head`, or use --address local"
        ) from error
