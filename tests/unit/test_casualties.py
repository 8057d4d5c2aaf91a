"""Who has died, and who waits in its group for one that is gone and never learns of it. No Ray is started."""

from types import SimpleNamespace

import pytest

from cohort.runtime import actors
from cohort.runtime.actors import RayCohort
from cohort.runtime.exchange import CollectiveExchange, ObjectStoreExchange
from cohort.runtime.watch import TIMES, Watch

PATIENCE = 70.0
LIVES, DEAD, LATE = "lives", "dead", "late"


class Three(RayCohort):
    """Hosts of four students; what each answers, when it is asked where it is."""

    def __init__(self, exchange, *states):
        self._here = {0: (0,), 1: (1, 2), 2: (3,)}
        self._exchange = exchange(sequential=False)
        self._states = dict(enumerate(states))
        self._actors = {h: SimpleNamespace(whereabouts=Answer(self, h)) for h in self._here}
        self.told, self.replaced = [], []
        self._watch = Watch(tell=self.told.append, hang_after=1.0)
        self._watch.took("steps", PATIENCE / TIMES)

    def _replace(self, hosts):
        self.replaced += hosts
        self._states |= dict.fromkeys(hosts, LIVES)


class Answer:
    """Of one host; what it is, is what the host was when it was asked."""

    def __init__(self, cohort, host):
        self.remote = lambda: (host, cohort._states[host])


@pytest.fixture(autouse=True)
def answers(monkeypatch):
    """Those of the late ones come only to who waits without a deadline."""

    def wait(answers, *, num_returns, timeout):
        assert num_returns == len(answers)
        soon = timeout == PATIENCE
        late = [answer for answer in answers if soon and answer[1] == LATE]
        return [answer for answer in answers if answer not in late], late

    monkeypatch.setattr(actors.ray, "wait", wait)
    monkeypatch.setattr(actors, "_answered", lambda answer: answer[1] != DEAD)


def test_who_waits_in_a_group_for_one_that_is_gone_is_started_again():
    cohort = Three(CollectiveExchange, LATE, DEAD, LATE)
    assert cohort.casualties() == ((1, 2),), "who waited did not die"
    assert cohort.replaced == [0, 2]
    assert cohort.told == ["students 0 and 3 still waited for one that is gone: started again"]


@pytest.mark.parametrize(
    ("exchange", "states", "dead"),
    [
        (CollectiveExchange, (LIVES, DEAD, LIVES), ((1, 2),)),
        (CollectiveExchange, (LATE, LIVES, LATE), ()),  # slow, and nobody is gone
        (ObjectStoreExchange, (LATE, DEAD, LIVES), ((1, 2),)),  # waits for nobody in a group
    ],
)
def test_nobody_else_is(exchange, states, dead):
    cohort = Three(exchange, *states)
    assert cohort.casualties() == dead
    assert (cohort.replaced, cohort.told) == ([], [])
