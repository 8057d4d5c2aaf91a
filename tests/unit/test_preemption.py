"""Nodes that are to go: noticed once, and the workers of a job asked for a checkpoint. No Ray is started."""

from contextlib import closing
from types import SimpleNamespace

import pytest
import ray

from cohort.jobs.departures import Departures
from cohort.jobs.mailbox import Place, Wishes
from cohort.jobs.post import Post
from cohort.runtime import preemption
from cohort.runtime.preemption import NodeNotices
from tests.support.command import wait_until


def test_each_node_of_ours_is_named_once(monkeypatch):
    monkeypatch.setattr(preemption, "SECONDS", 0.01)
    looks = iter([ConnectionError("the cluster is busy"), {"a", "foreign"}])
    seen = []

    def look():
        found = next(looks, {"a", "b", "foreign"})
        seen.append(found)
        if isinstance(found, Exception):
            raise found
        return found

    with closing(NodeNotices(look)) as notices:
        wait_until(lambda: len(seen) > 3)
        assert notices.new(["a", "c"]) == {"a"}
        assert notices.new(["a", "b", "c"]) == {"b"}
        assert notices.new(["a", "b", "c"]) == set()


@pytest.fixture
def answered(monkeypatch):
    """Ray's answers are there at once, and are what the methods return."""
    monkeypatch.setattr(ray, "get", lambda answer: answer)
    monkeypatch.setattr(ray, "wait", lambda answers, timeout: (answers, []))


def remote(**methods):
    return SimpleNamespace(
        **{name: SimpleNamespace(remote=method) for name, method in methods.items()}
    )


def test_a_job_asks_for_one_checkpoint_for_each_notice_and_says_so(answered):
    places = {0: Place("a", 1, "x"), 1: Place("b", 2, "y")}
    wanted, told = [], []
    mailbox = remote(places=lambda: places, want_checkpoint=lambda: wanted.append(1))
    nodes = SimpleNamespace(going={"b"}, new=lambda among: {"b"} & set(among) - told_of)
    told_of = set()
    settled = []
    departures = Departures(
        mailbox, ray.get, told.append, nodes, lambda: settled.append(list(told))
    )
    departures.saved(5)
    departures.look()
    told_of.add("b")
    departures.look()
    assert (wanted, told) == ([1], [])
    departures.saved(7)
    departures.saved(10)
    assert told == ["the node of worker 1 is to go; checkpoint at step 7"]
    assert settled == [[]], "it is said before it is on disk"


def test_a_worker_saves_once_for_each_notice(answered):
    wishes, saved = [Wishes()], []
    mailbox = remote(wishes=lambda own: wishes[0], save=lambda step, *_: saved.append(step))
    post = Post(mailbox, (0, None), Place("a", 1, "x"))

    def asked():
        return post.stopping(), post.saving()

    assert asked() == (False, False)
    wishes[0] = Wishes(checkpoints=1)
    asked()  # the answer before this one
    assert asked() == (False, True)
    post.save(3, {})
    assert asked() == (False, False)
    wishes[0] = Wishes(stopping=True, checkpoints=2)
    asked()
    assert asked() == (True, True)
    assert saved == [3]
