"""A Ray to run on: a local one of our own, or a running cluster that we join."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cohort.runtime import private_ray

os.environ.update(private_ray.FOR_RAY | os.environ)

import ray

from cohort.config import LOCAL
from cohort.errors import ConfigError, RunError
from cohort.imports import one_line
from cohort.runtime.placement import Node

QUIET: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
CONNECT_SECONDS = 5.0


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
    with private_ray.environment(private_ray.UNREAD, "1"):
        try:
            yield
        finally:
            ray.shutdown()


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
    try:
        private_ray.start_on_loopback(include_dashboard=False, **QUIET)
    except Exception as error:  # Ray has no narrower one for processes that did not start in time
        raise RunError(
            f"Ray did not start on this machine, which may be too busy: {one_line(error)}"
        ) from error


def _check_answers(address: str) -> None:
    """Raise OSError unless something listens there: Ray would wait for minutes."""
    host, _, port = address.rpartition(":")
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
