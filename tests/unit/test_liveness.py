"""Who hangs, by what was seen of processes."""

import pytest

from cohort.runtime.liveness import STILL_LOOKS, Sight, Verdict, Vigil, Watched
from cohort.runtime.watch import TIMES, Watch

ONE, TWO = Watched("student 0", "node", 11), Watched("students 1 and 2", "other node", 11)


def looks(vigil, *seconds, of=(ONE, TWO), every=10.0, all_seen=True):
    """What is judged look by look, by the CPU seconds that each process has used by then."""
    return [
        vigil.judge(
            {p: Sight(False, used) for p, used in zip(of, each, strict=True)},
            every * (number + 1),
            all_seen=all_seen,
        )
        for number, each in enumerate(seconds)
    ]


def test_a_stopped_process_hangs_at_the_first_look_and_no_other():
    seen = {ONE: Sight(False, 3.0), TWO: Sight(True, 4.0)}
    verdict = Vigil().judge(seen, 31.4, all_seen=True)
    assert verdict == Verdict((TWO,), "students 1 and 2 was stopped and silent for 31 s: ended")


def test_one_that_computes_is_told_of_once_and_waited_for():
    """Even if it is the only one, and takes for ever."""
    first, *others = looks(Vigil(), *((1.0, float(n)) for n in range(5 * STILL_LOOKS)))
    assert first == Verdict(text="no answer for 10 s, though all processes run; waiting for them")
    assert set(others) == {Verdict()}


def test_where_nobody_computes_all_are_stuck():
    """Ray's own threads take a little; ``STILL_LOOKS`` times between two looks, not once fewer."""
    verdicts = looks(Vigil(), *((1.0 + 0.1 * n, 2.0) for n in range(STILL_LOOKS + 1)))
    assert [v.hanging for v in verdicts] == [()] * STILL_LOOKS + [(ONE, TWO)]
    assert verdicts[-1].text == (
        "student 0 and students 1 and 2: no answer, and nobody computed, for 50 s: ended"
    )


def test_somebody_who_computes_in_between_begins_the_count_anew():
    idle = [(1.0, 2.0)] * STILL_LOOKS
    verdicts = looks(Vigil(), *idle, (1.0, 5.0), *[(1.0, 5.0)] * (STILL_LOOKS - 1))
    assert not any(verdict.hanging for verdict in verdicts)


@pytest.mark.parametrize("options", [{"all_seen": False}, {"of": ()}])
def test_who_cannot_be_seen_may_compute(options):
    seconds = [()] * 20 if "of" in options else [(1.0, 2.0)] * 20
    assert not any(verdict.hanging for verdict in looks(Vigil(), *seconds, **options))


def test_patience_grows_with_what_answers_of_a_kind_take():
    watch = Watch(hang_after=7.0)
    watch.took("steps", 0.5)
    assert watch.patience("steps") == 7.0
    watch.took("steps", 2.0)
    watch.took("steps", 1.0)
    assert watch.patience("steps") == TIMES * 2.0
    assert watch.patience("snapshot") == 7.0
