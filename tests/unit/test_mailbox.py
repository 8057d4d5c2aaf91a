"""What workers write to the driver: of those that were replaced, nothing arrives. No Ray is started."""

import asyncio
import pickle
from types import SimpleNamespace

import pytest
import ray

from cohort import RunError
from cohort.jobs.mailbox import Mailbox, Place, packed
from cohort.jobs.post import Inbox
from cohort.runtime import watch
from cohort.runtime.liveness import Sight

OLD = [Place("here", 1, "a"), Place("there", 1, "b")]
NEW = [Place("here", 1, "c"), Place("here", 2, "d")]
"""The first has the number that a process before it had."""


async def after_a_restart():
    """A mailbox whose first workers have saved step 5, and were replaced."""
    mailbox = Mailbox(0, None)
    await mailbox.renew(OLD)
    assert await mailbox.begin(0, OLD[0]) == (0, None)
    await mailbox.save(5, {"weights": b"5"}, OLD[0])
    await mailbox.renew(NEW)
    await mailbox.take(0.1)
    return mailbox


@pytest.mark.parametrize(
    "write",
    [
        lambda mailbox: mailbox.tell(packed("notice", "late"), OLD[0]),
        lambda mailbox: mailbox.save(6, {"weights": b"6"}, OLD[0]),
        lambda mailbox: mailbox.fail(packed("failed", "late"), OLD[1]),
        lambda mailbox: mailbox.begin(0, OLD[0]),
    ],
    ids=["tell", "save", "fail", "begin"],
)
def test_what_comes_too_late_is_not_taken(write):
    async def run():
        mailbox = await after_a_restart()
        assert await write(mailbox) is None
        assert await mailbox.waiting() == 0
        beginnings = [await mailbox.begin(rank, place) for rank, place in enumerate(NEW)]
        assert beginnings == [(5, {"weights": b"5"})] * 2
        assert [pickle.loads(each)[0] for each in await mailbox.take(0.1)] == ["begin"]

    asyncio.run(run())


def test_a_worker_that_was_replaced_is_asked_to_stop():
    async def run():
        mailbox = await after_a_restart()
        asked = [(await mailbox.wishes(place)).stopping for place in (*OLD, *NEW)]
        assert asked == [True] * 2 + [False] * 2
        assert await mailbox.places() == dict(enumerate(NEW))
        await mailbox.stop()
        assert (await mailbox.wishes(NEW[0])).stopping

    asyncio.run(run())


def test_checkpoints_that_are_wanted_are_counted_for_those_who_work():
    async def run():
        mailbox = await after_a_restart()
        await mailbox.want_checkpoint()
        await mailbox.want_checkpoint()
        assert await mailbox.wishes(NEW[0]) == (False, 2)
        await mailbox.renew(OLD)
        assert await mailbox.wishes(OLD[0]) == (False, 0)

    asyncio.run(run())


def test_actors_beside_the_workers_are_always_heard():
    async def run():
        mailbox = await after_a_restart()
        await mailbox.tell(packed("teachers_restarted", [0]), None)
        assert await mailbox.waiting() == 1

    asyncio.run(run())


def test_whoever_may_hang_is_known():
    async def run():
        mailbox = Mailbox(0, None)
        await mailbox.enter("the actor of teachers 0", OLD[1])
        assert await mailbox.processes() == {}, (
            "it would be seen idle while workers are being started"
        )
        await mailbox.renew(NEW)
        assert await mailbox.processes() == {
            "worker 0": NEW[0],
            "worker 1": NEW[1],
            "the actor of teachers 0": OLD[1],
        }

    asyncio.run(run())


@pytest.mark.parametrize("last", [7, ray.exceptions.ActorDiedError()])
def test_one_that_hangs_is_looked_at_and_if_it_was_stopped_ended(monkeypatch, last):
    """Who waits for it is told of its death; one that answers in the end is believed."""
    answers = iter([Place("here", 5, "m"), ray.exceptions.GetTimeoutError(), last])
    stopped = isinstance(last, Exception)
    told, ended = [], []

    def answer(asked, timeout=None):
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(ray, "get", answer)
    monkeypatch.setattr(watch, "look_at", lambda those: dict.fromkeys(those, Sight(stopped, 1.0)))
    monkeypatch.setattr(watch, "end", lambda those: ended.extend(each.pid for each in those))
    asked = SimpleNamespace(remote=lambda: None)
    inbox = Inbox(SimpleNamespace(place=asked, waiting=asked), 3.0, told.append)
    if stopped:
        with pytest.raises(
            RunError, match=r"^the process that keeps .* messages died; --resume the"
        ):
            inbox.ask(None)
        assert ended == [5]
        assert "messages was stopped and silent" in told[0]
    else:
        assert inbox.ask(None) == 7
        assert (ended, len(told)) == ([], 1)
