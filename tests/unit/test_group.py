"""Groups of hosts: what they leave behind, and what still comes from one that was left."""

from pathlib import Path

import pytest
import torch

from cohort.runtime.clock import Clock
from cohort.runtime.collective import PeersLostError, PosteriorGroup
from cohort.runtime.rendezvous import new_file
from cohort.runtime.wire import Messages, Seat
from tests.support.command import wait_until
from tests.support.workers import in_processes


def test_the_file_in_which_a_group_met_is_gone_once_it_works(tmp_path, monkeypatch):
    """For hosts are killed at the end, and remove nothing then."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")  # which is put back afterwards
    monkeypatch.setenv("NCCL_NVLS_ENABLE", "0")
    store = new_file(str(tmp_path))
    seat = Seat(0, (1,), Messages())
    group = PosteriorGroup(seat, store, "gloo", torch.device("cpu"), Clock())
    try:
        assert list(tmp_path.iterdir())
        group.check()
        assert not list(tmp_path.iterdir())
    finally:
        group.close()
    assert not list(tmp_path.iterdir())


def test_a_message_in_a_group_that_was_left_reaches_nobody(tmp_path):
    """Its sender was replaced, and lives on, as on a node that was cut off and is back."""
    in_processes(_hosts, (new_file(str(tmp_path)), new_file(str(tmp_path)), str(tmp_path)), 3)
    assert (tmp_path / "late").exists(), "nothing was sent too late"


def _hosts(number, first, second, folder):
    """Hosts 0 and 1 are a group; then 0 leaves, and has another one with 2."""
    left, formed, late = (Path(folder) / name for name in ("left", "formed", "late"))
    if number < 2:
        group = _joined(number, first)
    if number == 0:
        group.close()
        left.touch()
    if number == 1:
        wait_until(formed.exists)
        with pytest.raises(PeersLostError):
            group.check()
        late.touch()
        return
    wait_until(left.exists)
    group = _joined(number // 2, second)
    formed.touch()
    wait_until(late.exists)
    group.check()
    group.close()


def _joined(rank, store):
    seat = Seat(rank, (1, 1), Messages())
    group = PosteriorGroup(seat, store, "gloo", torch.device("cpu"), Clock())
    group.check()
    return group
