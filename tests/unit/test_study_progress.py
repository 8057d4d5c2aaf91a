"""StudyProgress: a live table of running trials on a terminal, plain lines elsewhere."""

import io
import re

import pytest
from rich.console import Console

from cohort.tuning.progress import StudyProgress


class Clock:
    """Time that moves when told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def make(terminal, total=4, mode="max", **options):
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, force_terminal=terminal, width=100, height=30, legacy_windows=False)
    options = {"console": console, "clock": clock} | options
    return out, clock, StudyProgress("test_accuracy", mode, total, **options)


def run_two(progress, clock):
    """A trial of 100 s that has ended; one of which 2 of 8 epochs are done in 40 s."""
    progress.started("a", {"k": 2}, 0, 8)
    clock.now += 60
    progress.started("b", {"k": 3, "lr": 0.0123456}, 1, None)
    clock.now += 40
    progress.ended("a", "finished", 0.75)
    progress.reported("b", 2.0, 0.5, 8.0)


def test_plain_lines():
    out, clock, progress = make(terminal=False)
    with progress:
        run_two(progress, clock)
    first, second = out.getvalue().splitlines()
    # One that runs and has a quarter done, two that are left, at 100 s each, two at a time.
    overview = "1/4 trials  eta 0:02:18  best 0.7500 of k=2 seed=0"
    assert second == f"{overview}  k=3 lr=0.01235 seed=1: epoch 2/8 test_accuracy 0.5000"
    # Nothing was known of its epochs then: 40 of the usual 100 s have gone by.
    assert first == (
        "k=2 seed=0 finished after 0:01:40: test_accuracy 0.7500  "
        "(1/4 trials  eta 0:02:10  best 0.7500 of k=2 seed=0)"
    )


def test_an_eta_is_known_once_a_trial_has_ended():
    out, clock, progress = make(terminal=False)
    with progress:
        progress.started("a", {"k": 2}, 0, 8)
        clock.now += 60
        progress.reported("a", 4, 0.5)
    line = "0/4 trials  eta –  k=2 seed=0: epoch 4/8 test_accuracy 0.5000\n"
    assert out.getvalue() == line


def test_trials_side_by_side_share_the_time_that_is_left():
    out, clock, progress = make(terminal=False, total=6, recorded=1)
    with progress:
        for trial in "abc":
            progress.started(trial, {"k": trial}, 0, 10)
        clock.now += 50
        progress.ended("a", "stopped", 0.1)
        progress.reported("b", 5, 0.2)
        progress.reported("c", 9, 0.2)
    # 2 that are left, 0.5 and 0.1 of those two that run, 50 s each, three at a time.
    last = out.getvalue().splitlines()[-1]
    assert last.startswith("2/6 trials  eta 0:00:43  best 0.1000 of k=a seed=0  k=b seed=0: epoch")
    assert last.count(" | ") == 1


def test_plain_lines_come_now_and_then_but_first_and_last_always():
    out, clock, progress = make(terminal=False, interval=5.0)
    with progress:
        progress.started("a", {}, 0, None)
        for epoch in range(1, 13):
            clock.now += 1
            progress.reported("a", epoch, 0.5)
        progress.finish()
    epochs = re.findall(r"seed=0: epoch (\d+) ", out.getvalue())
    assert epochs == ["1", "6", "11", "12"]


def test_ends_are_shown_between_the_lines_and_nothing_after_the_last():
    out, clock, progress = make(terminal=False, interval=1000.0)
    with progress:
        for trial in "abc":
            progress.started(trial, {"arm": trial}, 0, 2)
            progress.reported(trial, 1, 0.5)
            clock.now += 1
            progress.ended(trial, "finished", 0.5)
    lines = [line.split(" after")[0] for line in out.getvalue().splitlines()]
    assert lines[0].startswith("0/4 trials")
    assert lines[1:] == [f"arm={arm} seed=0 finished" for arm in "abc"]


def test_a_failed_trial_says_why_and_is_never_the_best():
    for terminal in (False, True):
        out, _, progress = make(terminal)
        with progress:
            progress.started("a", {"k": 1}, 0, 2)
            progress.ended("a", "failed", 0.99, "loss is nan at step 7 [red]")
        assert "k=1 seed=0 failed after 0:00:00: loss is nan at step 7 [red]" in out.getvalue()
        assert "best" not in out.getvalue()


@pytest.mark.parametrize(("mode", "best"), [("max", "0.9000 of k=2"), ("min", "0.2000 of k=3")])
def test_best_so_far_is_by_the_mode_and_leaves_out_what_is_not_finite(mode, best):
    out, _, progress = make(terminal=True, mode=mode)
    values = {1: float("nan"), 2: 0.9, 3: 0.2, 4: None}
    with progress:
        progress.known({"k": 5}, 0, 0.5)
        for k, value in values.items():
            progress.started(str(k), {"k": k}, 0, 2)
            progress.ended(str(k), "finished", value)
    assert head(out)[1] == f"best test_accuracy so far: {best} seed=0"


def test_best_so_far_knows_of_earlier_sessions():
    out, _, progress = make(terminal=True)
    with progress:
        progress.known({"k": 5}, 2, 0.95)
        progress.started("a", {"k": 1}, 0, 2)
        progress.ended("a", "finished", 0.9)
    assert head(out)[1] == "best test_accuracy so far: 0.9500 of k=5 seed=2"


def test_live_table_has_a_row_per_running_trial_below_the_counts():
    out, clock, progress = make(terminal=True, total=9, recorded=3)
    with progress:
        run_two(progress, clock)
        progress.started("c", {"k": 4}, 1, 8)
        progress.started("d", {"k": 5}, 1, 8)
        progress.ended("d", "stopped", 0.1)
    counts, best, heading, *rows = head(out)
    assert counts == (
        "1 finished  1 stopped  0 failed (and 3 before)  2 running  2 left  "
        "elapsed 0:01:40  eta 0:01:02"
    )
    assert best == "best test_accuracy so far: 0.7500 of k=2 seed=0"
    assert heading.split() == ["trial", "seed", "epoch", "test_accuracy", "elapsed"]
    assert [row.split() for row in rows] == [
        ["k=3", "lr=0.01235", "1", "2/8", "0.5000", "0:00:40"],
        ["k=4", "1", "0/8", "–", "0:00:00"],
    ]


def test_a_trial_that_is_started_again_keeps_its_row():
    out, clock, progress = make(terminal=True)
    with progress:
        progress.started("a", {"k": 1}, 0, 8)
        progress.reported("a", 3, 0.25)
        clock.now += 10
        progress.started("a", {"k": 1}, 0, 8)
    (row,) = head(out)[2:]
    assert row.split() == ["k=1", "0", "3/8", "0.2500", "0:00:10"]


def test_live_notices_stand_above_the_table():
    out, _, progress = make(terminal=True)
    with progress:
        progress.started("a", {"k": 1}, 0, 8)
        progress.notice("interrupted")
    assert "interrupted" in out.getvalue()
    assert not any("interrupted" in line for line in head(out))


def test_plain_text_has_no_escapes_wrapping_or_markup():
    out, _, progress = make(terminal=False)
    text = "k=1 was lost [red] " + "and found " * 20
    with progress:
        progress.notice(text)
    assert out.getvalue() == text + "\n"


def head(out):
    """The lines drawn last, without the terminal's control codes."""
    written = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", out.getvalue())
    start = [match.start() for match in re.finditer(r"\d finished  \d+ stopped", written)][-1]
    return [line.strip() for line in written[start:].splitlines() if line.strip()]
