"""Measurements averaged over windows of steps."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cohort.learning.records import StepRecords


def add(records, *steps):
    """As the learner does it."""
    for step in steps:
        records.add(step, {"loss": torch.tensor(float(step)), "accuracy": torch.tensor(0.5)})
        if records.window_is_full:
            records.close_window()


def test_means_of_full_windows():
    records = StepRecords(3)
    add(records, *range(7))
    assert records.drain() == [
        {"step": 3, "loss": 1.0, "accuracy": 0.5},
        {"step": 6, "loss": 4.0, "accuracy": 0.5},
    ]
    assert records.drain() == []


def test_close_window_ends_it_early_once():
    records = StepRecords(10)
    add(records, 0, 1)
    assert records.drain() == []
    records.close_window()
    records.close_window()
    assert records.drain() == [{"step": 2, "loss": 0.5, "accuracy": 0.5}]
    add(records, *range(2, 10))
    assert records.drain() == [{"step": 10, "loss": 5.5, "accuracy": 0.5}]


def test_windows_end_at_multiples_wherever_they_begin():
    records = StepRecords(4)
    add(records, *range(6, 13))
    assert [(r["step"], r["loss"]) for r in records.drain()] == [(8, 6.5), (12, 9.5)]


@given(st.integers(1, 12), st.integers(1, 40), st.integers(1, 40))
def test_a_resumed_run_writes_the_lines_of_an_undisturbed_one(every, stop, more):
    """A checkpoint at ``stop`` closes the window in both."""
    undisturbed, resumed = StepRecords(every), StepRecords(every)
    add(undisturbed, *range(stop))
    undisturbed.close_window()
    before = undisturbed.drain()
    add(undisturbed, *range(stop, stop + more))
    add(resumed, *range(stop, stop + more))
    assert resumed.drain() == undisturbed.drain()
    assert before[-1]["step"] == stop


def test_clear_forgets_the_open_window_and_what_was_due():
    records = StepRecords(2)
    add(records, 0, 1, 2)
    records.clear()
    records.close_window()
    assert records.drain() == []


def test_vectors_of_exits_are_averaged_and_nested():
    records = StepRecords(2)
    for step in range(2):
        exits = torch.tensor([1.0, 2.0, 3.0]) + step
        records.add(
            step,
            {
                "loss": torch.tensor(float(step)),
                "exits/ce": exits,
                "kl": torch.tensor(0.25),
                "exits/accuracy": exits.double() / 4,
            },
        )
    records.close_window()
    assert records.drain() == [
        {
            "step": 2,
            "loss": 0.5,
            "exits": {"ce": [1.5, 2.5, 3.5], "accuracy": [0.375, 0.625, 0.875]},
            "kl": 0.25,
        }
    ]


def test_one_exit_is_still_a_list():
    records = StepRecords(1)
    records.add(0, {"loss": torch.tensor(1.0), "exits/ce": torch.tensor([1.0])})
    records.close_window()
    assert records.drain() == [{"step": 1, "loss": 1.0, "exits": {"ce": [1.0]}}]


def test_a_window_is_read_from_the_device_once(monkeypatch):
    reads, tolist = [], torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda t: reads.append(t.shape) or tolist(t))
    records = StepRecords(3)
    for step in range(3):
        records.add(step, {"loss": torch.tensor(1.0), "exits/ce": torch.zeros(4)})
    assert reads == []
    records.close_window()
    assert reads == [(5,)]


def test_values_are_plain_numbers():
    records = StepRecords(1)
    records.add(0, {"loss": torch.tensor(1.0, dtype=torch.bfloat16), "n": torch.tensor(2)})
    assert records.window_is_full
    records.close_window()
    (record,) = records.drain()
    assert [type(value) for value in record.values()] == [int, float, float]
    assert record == {"step": 1, "loss": 1.0, "n": pytest.approx(2.0)}
