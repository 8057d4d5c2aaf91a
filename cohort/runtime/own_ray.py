"""What is known of a Ray of a run's own before it is started, so that no refusal is waited for."""

import os
import sys
import tempfile

from cohort.config import LOCAL
from cohort.errors import ConfigError
from cohort.runtime.private_ray import LONGEST_SOCKET, TEMPORARY, longest_socket


def starts_ray(address: str | None) -> bool:
    """Whether a run with this address starts a Ray: it names no cluster, and none is joined yet."""
    ray = sys.modules.get("ray")
    return address in (None, LOCAL) and not (ray is not None and ray.is_initialized())


def ray_to_start(address: str | None) -> str | None:
    """What is said of the Ray that a run with this address waits for; None if it is there already."""
    if starts_ray(address):
        return "starting Ray on this machine"
    return None if address in (None, LOCAL) else f"joining the Ray cluster at {address}"


def check_sockets() -> None:
    """Raise ConfigError for a temporary folder whose name is too long for the sockets of Ray's processes."""
    name = next((name for name in TEMPORARY if name in os.environ), None)
    folder = tempfile.gettempdir() if name is None else os.environ[name]
    length = len(os.fsencode(longest_socket(folder)))
    if length > LONGEST_SOCKET:
        raise ConfigError(
            f"{name or 'TMPDIR'} is {folder!r}, where Ray's sockets would have paths of {length} "
            f"characters, and {LONGEST_SOCKET} are the most; name a folder that is "
            f"{length - LONGEST_SOCKET} shorter, such as /tmp"
        )
