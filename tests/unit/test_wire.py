"""What hosts write to one another, and when it is their students' sum. No Ray."""

import math

import pytest
import torch
from torch.nn import functional as F

from cohort.errors import ConfigError
from cohort.objectives.peer_sum import PeerSum
from cohort.runtime.config import CohortConfig, resolve
from cohort.runtime.exchange import NoExchange, choose_exchange
from cohort.runtime.letters import opened, sealed
from cohort.runtime.wire import Messages, Seat, sums_pay

HALVES = torch.tensor([[0.5, 0.5]]).log()
QUARTERS = torch.tensor([[0.25, 0.75]]).log()


def test_gathered_rows_stand_in_the_order_of_the_students():
    messages = Messages()
    of_first, of_last = torch.stack([HALVES, QUARTERS]), torch.stack([QUARTERS])
    written = [messages.write(shown) for shown in (of_first, of_last)]
    before, after = Seat(1, (2, 3, 1), messages).around(written)
    assert [peer.tolist() for peer in before] == [HALVES.tolist(), QUARTERS.tolist()]
    assert [peer.tolist() for peer in after] == [QUARTERS.tolist()]


def test_a_sum_has_the_entropies_as_its_last_column():
    messages = Messages(summed=True)
    written = messages.write(torch.stack([HALVES, QUARTERS]))
    negentropy = -math.log(2) + 0.25 * math.log(0.25) + 0.75 * math.log(0.75)
    assert written.shape == (1, 1, 3)
    assert written.flatten().tolist() == pytest.approx([0.75, 1.25, negentropy])
    (before,), after = Seat(2, (2, 1, 4), messages).around(
        [written, messages.write(QUARTERS[None])]
    )
    assert after == []
    assert before.count == 3
    assert before.total_BC.flatten().tolist() == pytest.approx([1.0, 2.0])
    assert before.negentropy_B.item() == pytest.approx(
        negentropy + 0.25 * math.log(0.25) + 0.75 * math.log(0.75)
    )


@pytest.mark.parametrize(
    ("teacher", "total"),
    [("ensemble", [0.75, 1.25]), ("ensemble_logits", [math.log(0.125), math.log(0.375)])],
)
def test_an_ensemble_needs_no_entropies(teacher, total):
    messages = Messages(teacher=teacher, summed=True)
    written = messages.write(torch.stack([HALVES, QUARTERS]))
    assert written.shape == (1, 1, 2)
    (peer,) = messages.read(written, 2)
    assert peer.total_BC.flatten().tolist() == pytest.approx(total)
    assert peer.negentropy_B is None


@pytest.mark.parametrize("summed", [False, True])
def test_half_precision_rounds_to_eleven_bits_and_keeps_numbers_finite(summed):
    shown = F.log_softmax(torch.tensor([[[1.0, 2.0, 3.0]], [[0.0, 1e5, 0.0]]]), dim=2)
    teacher = "ensemble_logits"
    exact, rounded = (
        Messages(teacher=teacher, summed=summed, half=half).write(shown) for half in (False, True)
    )
    assert rounded.dtype == torch.float16
    assert exact.min() < -65504 <= rounded.float().min()
    torch.testing.assert_close(rounded.float(), exact.clamp(min=-65504), rtol=2**-11, atol=2**-25)
    peers = Messages(teacher=teacher, summed=summed, half=True).read(rounded, 2)
    numbers = [peer.total_BC if isinstance(peer, PeerSum) else peer for peer in peers]
    assert all(n.dtype == torch.float32 and n.isfinite().all() for n in numbers)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("classes", "kind"), [(100, bytes), (1000, "array")])
def test_a_letter_opens_to_what_was_sealed(dtype, classes, kind):
    """Small ones are bytes, whose shape the reader knows but for the number of rows."""
    message = torch.randn(2, 64 if kind is bytes else 512, classes).to(dtype)
    letter = sealed(message)
    assert isinstance(letter, bytes) == (kind is bytes)
    assert torch.equal(opened(letter, like=message[:1]), message)


@pytest.mark.parametrize(
    ("sizes", "batch", "classes", "pay"),
    [
        ((4, 4), 64, 100, False),  # 100 KiB gathered: no division changes a bit of a small cohort
        ((1, 1, 1, 1), 512, 1000, False),  # nothing is saved: each sum is of one
        ((8, 8), 512, 1000, True),  # 16.4 MB against 2.05
        ((2, 2), 512, 1000, False),  # 4.1 MB are less than 4 MiB
        ((3, 2), 512, 1000, True),  # the host of two gathers three: 6.1 MB against 2.05
        ((2,) * 32, 128, 1000, False),  # 31.7 MB against 15.9 with the entropies
        ((3,) * 32, 128, 1000, True),  # 47.6 MB against 15.9
        ((1,) * 64, 128, 1000, False),
        ((32, 32), 64, 100, False),  # 0.8 MB
        ((16,), 512, 1000, False),
    ],
)
def test_sums_pay_where_they_save_half_of_much(sizes, batch, classes, pay):
    assert sums_pay(sizes, batch, classes) is pay


@pytest.mark.parametrize(
    ("keys", "summed", "half"),
    [
        ({}, False, False),
        ({"batch_size": 512}, True, False),
        ({"batch_size": 512, "aggregate": "gather"}, False, False),
        ({"aggregate": "sum", "wire": "fp16"}, True, True),
        ({"exchange": "collective", "aggregate": "sum", "schedule": "sequential"}, True, False),
    ],
)
def test_an_exchange_writes_as_the_config_says(keys, summed, half):
    config = resolve(CohortConfig(k=16, teacher="ensemble", **keys))
    exchange = choose_exchange(config, (8, 8), classes=1000)
    assert exchange.messages == Messages(teacher="ensemble", summed=summed, half=half)
    assert exchange.sequential == (config.schedule == "sequential")


@pytest.mark.parametrize(
    ("keys", "summed"),
    [
        ({"mimicry": "dkd"}, False),
        ({"teacher": "kdcl_naive"}, False),
        ({"standardise": True}, True),
    ],
)
def test_nothing_is_added_up_of_which_a_sum_is_not_enough(keys, summed):
    config = resolve(CohortConfig(k=16, batch_size=512, **keys))
    assert choose_exchange(config, (8, 8), classes=1000).messages.summed is summed


def test_where_one_process_has_all_students_nothing_is_added_up():
    assert isinstance(choose_exchange(resolve(CohortConfig()), (2,), classes=10), NoExchange)
    for keys in ({"aggregate": "sum"}, {"wire": "fp16"}):
        with pytest.raises(
            ConfigError, match=r"all students share one process, so .*--per-process"
        ):
            choose_exchange(resolve(CohortConfig(**keys)), (2,), classes=10)
