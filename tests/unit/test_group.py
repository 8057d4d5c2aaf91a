"""A group of one: what its start leaves behind."""

import tempfile
from pathlib import Path

import torch

from cohort.runtime.clock import Clock
from cohort.runtime.collective import PosteriorGroup
from cohort.runtime.rendezvous import new_file
from cohort.runtime.wire import Messages, Seat


def test_the_file_in_which_a_group_met_is_gone_once_it_works(tmp_path, monkeypatch):
    """For hosts are killed at the end, and remove nothing then."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")  # which is put back afterwards
    monkeypatch.setenv("NCCL_NVLS_ENABLE", "0")
    store = new_file()
    seat = Seat(0, (1,), Messages())
    group = PosteriorGroup(seat, store, "gloo", torch.device("cpu"), Clock())
    try:
        assert Path(store.removeprefix("file:")).parent == tmp_path
        assert list(tmp_path.iterdir())
        group.check()
        assert not list(tmp_path.iterdir())
    finally:
        group.close()
    assert not list(tmp_path.iterdir())
