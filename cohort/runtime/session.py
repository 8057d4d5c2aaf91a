"""A Ray to run on: a local one of our own, or a running cluster that we join."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from cohort.errors import ConfigError
from cohort.runtime.placement import Node


@contextmanager
def ray_session(address: str | None = None) -> Iterator[None]:
    """Ray inside the block. A Ray that is already initialised is used and left running.

    A local Ray listens on the loopback interface only, has no dashboard, and keeps its log lines
    out of the user's terminal. Raises ConfigError if no cluster answers at ``address``.
    """
    if ray.is_initialized():
        yield
        return
    # Read by the processes that Ray starts: students without a GPU are no reason for a warning.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    _start(address)
    try:
        yield
    finally:
        ray.shutdown()


def cluster_nodes() -> list[Node]:
    """The living nodes of the cluster and what each has in total."""
    return [
        Node(
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
            memory=node["Resources"].get("memory", 0.0),
        )
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]


def _start(address: str | None) -> None:
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        ray.init("local", include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
        return
    try:
        ray.init(address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"--address is {address!r}, but no Ray cluster answers there ({reason}); "
            "start one with `ray start --head`, or leave --address out"
        ) from error
