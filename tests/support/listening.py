"""Which sockets the processes of a run listen on."""

import contextlib
import ipaddress

import psutil


def listening(root: psutil.Process | None = None) -> set[tuple[str, str]]:
    """Addresses and processes: of this one, or another, and of all that descend from it."""
    root = root or psutil.Process()
    found = set()
    for process in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            name = " ".join(process.cmdline())
            found |= {(each.laddr.ip, name) for each in sockets(process)}
    return found


def sockets(process: psutil.Process) -> list:
    every = process.net_connections("inet")
    return [each for each in every if each.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)]


def check_loopback_alone(found: set[tuple[str, str]], *processes: str) -> None:
    """Nothing listens elsewhere; whoever is named in ``processes`` was there to be seen."""
    for name in ("raylet", "gcs_server", *processes):
        assert any(name in process for _, process in found), f"{name} was not seen"
    elsewhere = {(address, process[:60]) for address, process in found if not loopback(address)}
    assert not elsewhere, elsewhere


def loopback(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback
