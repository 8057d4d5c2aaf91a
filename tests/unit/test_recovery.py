"""The whole decision table of what happens when students die."""

import pytest

from cohort.reporting.waits import named
from cohort.runtime.recovery import Drop, RecoveryPolicy, Restart, Stop

STOP = "stop"


@pytest.mark.parametrize(
    ("on_failure", "max_failures", "dead", "failures", "alive", "expected"),
    [
        ("restart", 3, (1,), 1, 1, Restart((1,))),
        ("restart", 3, (1,), 3, 1, Restart((1,))),  # the last one allowed
        ("restart", 3, (1,), 4, 1, STOP),
        ("restart", 3, (0, 2), 2, 1, Restart((0, 2))),
        ("restart", 3, (0, 2), 4, 1, STOP),
        ("restart", 1, (0, 1), 2, 0, STOP),
        ("restart", 3, (0, 1), 2, 0, Restart((0, 1))),  # all of them: from the checkpoint
        ("restart", 0, (1,), 1, 1, STOP),
        ("drop", 3, (1,), 1, 2, Drop((1,))),
        ("drop", 3, (0, 2), 2, 1, Drop((0, 2))),
        ("drop", 3, (1,), 4, 2, STOP),
        ("drop", 3, (0, 1), 2, 0, STOP),  # nobody is left
        ("drop", 0, (1,), 1, 2, STOP),
        ("stop", 3, (1,), 1, 2, STOP),
        ("stop", 0, (1,), 1, 0, STOP),
    ],
)
def test_decision(on_failure, max_failures, dead, failures, alive, expected):
    decision = RecoveryPolicy(on_failure, max_failures).decide(dead, failures, alive)
    if expected is STOP:
        assert isinstance(decision, Stop)
        assert decision.reason.startswith(f"{named(dead)} died")
    else:
        assert decision == expected


@pytest.mark.parametrize(
    ("on_failure", "max_failures", "alive", "words"),
    [
        ("stop", 3, 1, "--on-failure is stop"),
        ("restart", 0, 1, "student 4 died; that makes 1 death, and --max-failures is 0"),
        ("drop", 3, 0, "none is left"),
    ],
)
def test_stopping_says_why(on_failure, max_failures, alive, words):
    decision = RecoveryPolicy(on_failure, max_failures).decide((4,), 1, alive)
    assert isinstance(decision, Stop)
    assert words in decision.reason
