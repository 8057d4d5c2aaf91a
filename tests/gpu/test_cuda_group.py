"""A group of torch.distributed on a GPU, by NCCL, of one host: what one GPU can try of it."""

import pytest
import torch

from cohort.runtime.clock import Clock
from cohort.runtime.collective import PosteriorGroup
from cohort.runtime.rendezvous import new_file
from cohort.runtime.warm_up import GroupUnusableError, check_gather
from cohort.runtime.wire import Messages, Seat

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CUDA = torch.device("cuda", 0)
CYCLES = 10**8
"""Of a GPU's clock, which is below 3 GHz."""


def test_a_group_of_nccl_passes_its_check_and_its_waiting_is_measured(tmp_path):
    clock = Clock.of("nccl")
    group = PosteriorGroup(Seat(0, (1,), Messages()), new_file(str(tmp_path)), "nccl", CUDA, clock)
    try:
        group.check()
        assert clock.take().waited > 0
    finally:
        group.close()


def test_what_the_device_waits_for_is_measured_there_though_the_call_returns_at_once():
    clock = Clock.of("nccl")
    with clock.working(), clock.waiting():
        torch.cuda._sleep(CYCLES)
    assert clock.take().waited > CYCLES / 3e9


def test_the_check_finds_what_did_not_arrive():
    with pytest.raises(GroupUnusableError, match="host 0 did not receive what host 1 sent"):
        check_gather(lambda own: [own, own], 0, CUDA)
