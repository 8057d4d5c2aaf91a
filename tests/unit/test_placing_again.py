"""Hosts that died and find no place: who is waited for is said, once, and one deadline is all's."""

import pytest

from cohort import RunError
from cohort.runtime import actors
from cohort.runtime.actors import RayCohort


class Nowhere(RayCohort):
    """Three hosts of four students on a cluster that has a place for the second one only."""

    def __init__(self, monkeypatch):
        self.clock, self.asked, self.told, self.waits = 100.0, 0, [], []
        self._here = {0: (0,), 1: (1, 2), 2: (3,)}
        self._actors, self._common, self._feeders = {}, (), None
        monkeypatch.setattr(actors.time, "monotonic", lambda: self.clock)
        monkeypatch.setattr(actors.ray, "wait", self.wait)

    def wait(self, answers, *, num_returns, timeout):
        assert num_returns == len(answers)
        self.waits.append(timeout)
        self.clock += timeout + 0.25
        return [], [answer for answer in answers if answer != "of host 1"]

    def _forget(self, hosts):
        pass

    def _start(self, hosts):
        return dict.fromkeys(hosts, self)

    def _networks_of(self, host):
        return {}

    @property
    def build(self):
        return self

    def remote(self, *_):
        self.asked += 1
        return f"of host {self.asked - 1}"

    def _is_built(self, host, answer):
        return host == 1


def test_it_is_said_who_is_waited_for_and_for_how_long(monkeypatch):
    nowhere = Nowhere(monkeypatch)
    words = (
        r"^students 0 and 3 could not be started on this cluster within 120 s; "
        r"--resume the run when it has room$"
    )
    with pytest.raises(RunError, match=words):
        nowhere._replace((0, 1, 2), nowhere.told.append)
    assert nowhere.told == ["waiting up to 115 s for a place for students 0 and 3"]
    assert nowhere.waits == [5.0, 114.75]
