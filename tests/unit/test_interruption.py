"""Real signals, sent to this process."""

import os
import signal
import threading

import pytest

from cohort.run.interruption import SIGNALS, Interruption


def handlers():
    return [signal.getsignal(number) for number in SIGNALS]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_a_question(number):
    before = handlers()
    interruption = Interruption()
    with interruption.listening():
        assert not interruption.requested()
        os.kill(os.getpid(), number)
        assert interruption.requested()
    assert handlers() == before
    assert interruption.requested()


@pytest.mark.parametrize("second", SIGNALS)
@pytest.mark.parametrize("first", SIGNALS)
def test_the_second_one_ends_it_at_once(first, second):
    before = handlers()
    with Interruption().listening() as interruption:
        os.kill(os.getpid(), first)
        assert interruption.requested()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), second)
    assert handlers() == before


def test_handlers_are_restored_after_an_error():
    before = handlers()
    with pytest.raises(ZeroDivisionError), Interruption().listening():
        raise ZeroDivisionError
    assert handlers() == before


def test_one_inside_another_gives_the_outer_its_turn_back():
    outer, inner = Interruption(), Interruption()
    with outer.listening():
        with inner.listening():
            os.kill(os.getpid(), signal.SIGINT)
        assert (outer.requested(), inner.requested()) == (False, True)
        os.kill(os.getpid(), signal.SIGINT)
        assert outer.requested()


def test_another_thread_only_runs_the_block():
    before, inside = handlers(), []

    def work():
        with Interruption().listening() as interruption:
            inside.append((handlers(), interruption.requested()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [(before, False)]
