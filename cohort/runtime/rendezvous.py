"""Where the processes of a group of torch.distributed meet, and on which addresses they listen.

On one node they meet in a file that only its owner opens, or at a port of the loopback interface,
and listen on that interface alone. Over several nodes they meet at a port of one of them: whoever
reaches that can read and change what they tell each other there (see docs/clusters.md), so it is
open on the address that the node has in the cluster, and on no other, as torch would have it.
"""

import datetime
import ipaddress
import os
import socket
import tempfile
import uuid

from torch.distributed import FileStore, PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

LOOPBACK = "127.0.0.1"
ON_LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
"""By themselves both listen on the interface of the machine's name, which others may reach."""


def new_file(folder: str) -> str:
    """A meeting place on this node for a new group, ``file:PATH``, in a folder that does not outlive it."""
    handle, path = tempfile.mkstemp(prefix="cohort-group-", dir=folder)  # nobody else's to read
    os.close(handle)
    return f"file:{path}"


def new_port(address: str) -> str:
    """A meeting place for a new group, ``tcp:HOST:PORT:NAME``, whose first rank will listen there.

    Ports are used again, names are not: whoever still looks for an earlier group finds nobody here.
    """
    with socket.create_server((address, 0)) as probe:
        return f"tcp:{address}:{probe.getsockname()[1]}:{uuid.uuid4().hex}"


def meet(place: str, rank: int, size: int, timeout: datetime.timedelta) -> Store:
    """The store through which the ``size`` ranks of a group find each other at a meeting place.

    On one node it also keeps this process from listening elsewhere than on the loopback interface.
    """
    kind, _, where = place.partition(":")
    if kind == "file":
        os.environ.update(ON_LOOPBACK)
        return FileStore(where, size)
    host, port, name = where.rsplit(":", 2)
    if ipaddress.ip_address(host).is_loopback:
        os.environ.update(ON_LOOPBACK)
    listener = socket.create_server((host, int(port))).detach() if rank == 0 else None
    store = TCPStore(
        host, int(port), size, is_master=rank == 0, timeout=timeout, master_listen_fd=listener
    )
    return PrefixStore(name, store)
