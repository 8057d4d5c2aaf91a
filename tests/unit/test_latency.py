"""Networks that are timed take turns, and are left as they were."""

import torch
from torch import nn

from cohort.analysis.latency import CALLS, WARMUP_ROUNDS, Latency, measure_latencies
from tests.support.exits import IMAGE_SHAPE, tiny_student


class Noted(nn.Module):
    def __init__(self, name, calls):
        super().__init__()
        self.name, self.calls = name, calls

    def forward(self, images):
        self.calls.append((self.name, tuple(images.shape), self.training))


def test_all_take_turns_in_random_order_and_no_turn_is_broken():
    calls = []
    shapes = {"a": (1, 2, 2), "b": (3, 4, 4), "c": (3, 4, 4)}
    networks = {name: (Noted(name, calls), shape) for name, shape in shapes.items()}
    measured = measure_latencies(networks, 7, torch.device("cpu"))
    turn = CALLS + 1  # of which the first is not counted
    turns = [calls[i : i + turn] for i in range(0, len(calls), turn)]
    assert all(len(set(each)) == 1 for each in turns)
    order = "".join(each[0][0] for each in turns)
    rounds = [order[i : i + 3] for i in range(0, len(order), 3)]
    assert len(rounds) == WARMUP_ROUNDS + 7
    assert {"".join(sorted(each)) for each in rounds} == {"abc"}
    assert len(set(rounds)) > 2
    assert set(calls) == {(name, (1, *shape), False) for name, shape in shapes.items()}
    assert list(measured) == ["a", "b", "c"]
    for each in measured.values():
        assert 0 < each.low_ms <= each.median_ms <= each.high_ms


def test_timing_changes_nothing():
    student = tiny_student().train()
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    measure_latencies({0: (student, IMAGE_SHAPE)}, 1, torch.device("cpu"))
    assert all(module.training for module in student.modules())
    assert all(torch.equal(t, before[name]) for name, t in student.state_dict().items())


def test_how_it_is_written():
    assert str(Latency(median_ms=1.5, low_ms=1, high_ms=2.256)) == "1.50 [1.00, 2.26]"
