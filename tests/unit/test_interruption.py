"""Real signals, sent to this process."""

import os
import signal
import threading

import pytest

from cohort.run.interruption import SIGNALS, Interruption


@pytest.fixture(autouse=True)
def nothing_is_ignored():
    """As after ``nohup``, or in a shell's background, something is."""
    before = [signal.signal(number, signal.SIG_DFL) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


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


def test_a_signal_that_was_to_be_ignored_is_ignored():
    """As ``nohup`` has it for SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption().listening() as interruption:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interruption.requested()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_is_gone_stops_nobody(tmp_path):
    """What is written to it fails from SIGHUP on, but is no error."""
    kept = [os.dup(1), os.dup(2)]
    terminal, end = os.openpty()
    try:
        os.dup2(end, 1)
        os.dup2(end, 2)
        os.close(end)
        os.close(terminal)
        with Interruption().listening() as interruption:
            os.kill(os.getpid(), signal.SIGHUP)
            assert interruption.requested()
            os.write(1, b"step 3\n")
    finally:
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
