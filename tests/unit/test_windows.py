"""Measurements averaged over windows of steps."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cohort.learning.windows import Windows


def add(windows, *steps):
    """As the learner does it."""
    for step in steps:
        windows.add(step, {"loss": torch.tensor(float(step)), "accuracy": torch.tensor(0.5)})
        if windows.window_is_full:
            windows.close_window()


def test_means_of_full_windows():
    windows = Windows(3)
    add(windows, *range(7))
    assert windows.drain() == [
        {"step": 3, "loss": 1.0, "accuracy": 0.5},
        {"step": 6, "loss": 4.0, "accuracy": 0.5},
    ]
    assert windows.drain() == []


def test_close_window_ends_it_early_once():
    windows = Windows(10)
    add(windows, 0, 1)
    assert windows.drain() == []
    windows.close_window()
    windows.close_window()
    assert windows.drain() == [{"step": 2, "loss": 0.5, "accuracy": 0.5}]
    add(windows, *range(2, 10))
    assert windows.drain() == [{"step": 10, "loss": 5.5, "accuracy": 0.5}]


def test_windows_end_at_multiples_wherever_they_begin():
    windows = Windows(4)
    add(windows, *range(6, 13))
    assert [(r["step"], r["loss"]) for r in windows.drain()] == [(8, 6.5), (12, 9.5)]


@given(st.integers(1, 12), st.integers(1, 40), st.integers(1, 40))
def test_a_resumed_run_writes_the_lines_of_an_undisturbed_one(every, stop, more):
    """A checkpoint at ``stop`` closes the window in both."""
    undisturbed, resumed = Windows(every), Windows(every)
    add(undisturbed, *range(stop))
    undisturbed.close_window()
    before = undisturbed.drain()
    add(undisturbed, *range(stop, stop + more))
    add(resumed, *range(stop, stop + more))
    assert resumed.drain() == undisturbed.drain()
    assert before[-1]["step"] == stop


def test_clear_forgets_the_open_window_and_what_was_due():
    windows = Windows(2)
    add(windows, 0, 1, 2)
    windows.clear()
    windows.close_window()
    assert windows.drain() == []


def test_vectors_of_exits_are_averaged_and_nested():
    windows = Windows(2)
    for step in range(2):
        exits = torch.tensor([1.0, 2.0, 3.0]) + step
        windows.add(
            step,
            {
                "loss": torch.tensor(float(step)),
                "exits/ce": exits,
                "kl": torch.tensor(0.25),
                "exits/accuracy": exits.double() / 4,
            },
        )
    windows.close_window()
    assert windows.drain() == [
        {
            "step": 2,
            "loss": 0.5,
            "exits": {"ce": [1.5, 2.5, 3.5], "accuracy": [0.375, 0.625, 0.875]},
            "kl": 0.25,
        }
    ]


def test_one_exit_is_still_a_list():
    windows = Windows(1)
    windows.add(0, {"loss": torch.tensor(1.0), "exits/ce": torch.tensor([1.0])})
    windows.close_window()
    assert windows.drain() == [{"step": 1, "loss": 1.0, "exits": {"ce": [1.0]}}]


def test_a_window_is_read_from_the_device_once(monkeypatch):
    reads, tolist = [], torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda t: reads.append(t.shape) or tolist(t))
    windows = Windows(3)
    for step in range(3):
        windows.add(step, {"loss": torch.tensor(1.0), "exits/ce": torch.zeros(4)})
    assert reads == []
    windows.close_window()
    assert reads == [(5,)]


def test_values_are_plain_numbers():
    windows = Windows(1)
    windows.add(0, {"loss": torch.tensor(1.0, dtype=torch.bfloat16), "n": torch.tensor(2)})
    assert windows.window_is_full
    windows.close_window()
    (means,) = windows.drain()
    assert [type(value) for value in means.values()] == [int, float, float]
    assert means == {"step": 1, "loss": 1.0, "n": pytest.approx(2.0)}


@pytest.mark.parametrize("closed", [False, True])
def test_the_first_number_that_is_not_finite_is_found_when_the_window_is_read(closed):
    """Steps 4 to 7, of which the loss of 5 and the posterior of 6 are bad: the order of 5's loss."""
    windows = Windows(4)
    for step, halves in ((4, (1, 1)), (5, (1, 0)), (6, (0, 1)), (7, (1, 1))):
        windows.add(step, {"loss": torch.tensor(1.0)}, [torch.tensor(h == 1) for h in halves])
    assert (windows.close_window() if closed else windows.first_bad()) == 2 * 5 + 1
    assert windows.drain() == []
    windows.clear()
    windows.add(8, {"loss": torch.tensor(1.0)}, [torch.tensor(True), torch.tensor(True)])
    assert windows.first_bad() is windows.close_window() is None
    assert windows.drain() == [{"step": 9, "loss": 1.0}]
