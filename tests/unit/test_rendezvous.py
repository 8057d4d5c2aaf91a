"""Where groups meet: nobody else reads it, and no other address listens."""

import datetime
import os
import stat
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from cohort.jobs import group
from cohort.runtime.rendezvous import ON_LOOPBACK, meet, new_file, new_port
from tests.support.listening import sockets

SECONDS = datetime.timedelta(seconds=20)


@pytest.fixture(autouse=True)
def no_interfaces(monkeypatch):
    """None chosen; put back afterwards."""
    for name in ON_LOOPBACK:
        monkeypatch.setenv(name, "")


def test_a_file_is_its_owners_alone(tmp_path):
    place = new_file(str(tmp_path))
    path = Path(place.removeprefix("file:"))
    assert path.parent == tmp_path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    store = meet(place, 0, 1, SECONDS)
    store.set("key", "value")
    assert b"value" in path.read_bytes()
    assert os.environ["GLOO_SOCKET_IFNAME"] == os.environ["NCCL_SOCKET_IFNAME"] == "lo"


@pytest.mark.parametrize(("address", "interface"), [("127.0.0.1", "lo"), (None, "")])
def test_a_port_is_open_on_its_address_alone(address, interface):
    """Of the machine's addresses, another one where it has one: that of a node in its cluster."""
    address = address or an_address()
    before = set(sockets(psutil.Process()))
    store = meet(new_port(address), 0, 1, SECONDS)
    opened = [each.laddr.ip for each in set(sockets(psutil.Process())) - before]
    assert opened == [address]
    store.set("key", "value")
    assert store.get("key") == b"value"
    assert os.environ["GLOO_SOCKET_IFNAME"] == interface


def an_address():
    every = [
        each.address for of in psutil.net_if_addrs().values() for each in of if each.family == 2
    ]
    others = [address for address in every if not address.startswith("127.")]
    if not others:
        pytest.skip("this machine has no address but loopback")
    return others[0]


@pytest.mark.parametrize(
    ("nodes", "place"),
    [
        (["driver", "driver"], "file:"),
        (["other", "other"], "tcp:127.0.0.1:"),
        (["driver", "other"], "tcp:127.0.0.9:"),
    ],
)
def test_where_the_workers_of_a_job_meet(tmp_path, monkeypatch, nodes, place):
    """In the driver's folder, if all are on its node, and else on no more addresses than they need."""
    address = "127.0.0.9"
    monkeypatch.setattr(group.ray.util, "get_node_ip_address", lambda: address)
    config = group.GroupConfig(backend="gloo", folder=str(tmp_path), node="driver")
    found = group._meeting_place(nodes, config)
    assert found.startswith(place)
    assert len(list(tmp_path.iterdir())) == (place == "file:")


def test_a_port_that_is_used_again_is_another_place():
    """For who still looks for the group that met there before."""
    place = new_port("127.0.0.1")
    store, late = meet(place, 0, 1, SECONDS), meet(f"{place}-before", 1, 1, SECONDS)
    late.set("key", "of an earlier group")
    store.set("key", "value")
    assert store.get("key") == b"value"
    assert store.delete_key("key")
    assert late.get("key") == b"of an earlier group"


def test_one_worker_forms_no_group_but_is_known_to_the_mailbox(monkeypatch):
    told = []
    mailbox = SimpleNamespace(renew=SimpleNamespace(remote=told.append))
    workers = Workers([None])
    monkeypatch.setattr(group.ray, "get", lambda answer: answer)
    group.WorkersGroup().on_start(workers, group.GroupConfig(backend="gloo", mailbox=mailbox))
    assert told == [["own_place of None"]]


class Workers(list):
    """What Ray Train calls a backend with."""

    def execute(self, function):
        return [f"{function.__name__} of {each}" for each in self]
