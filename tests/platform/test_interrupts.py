"""Signals: one exception, which waits for what must not be cut."""

import gc
import os
import signal
import sys
import threading

import pytest

from f3ocus_jax import hosts, interrupts
from tfds_medvqa.common import interrupts as builds


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_raised_with_its_exit_status(number, status):
    before = signal.getsignal(number)
    with pytest.raises(interrupts.Interrupted, match=number.name) as caught, interrupts.raised():
        os.kill(os.getpid(), number)
    assert caught.value.exit_status == status
    assert signal.getsignal(number) is before


def test_a_signal_is_no_exception_that_code_below_may_swallow():
    assert not issubclass(interrupts.Interrupted, Exception)


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_a_postponed_block_ends_first(number):
    done = []

    def work():
        with interrupts.postponed():
            with interrupts.postponed():
                os.kill(os.getpid(), number)
                done.append("inner")
            done.append("outer")
        done.append("never")

    with pytest.raises(interrupts.Interrupted), interrupts.raised():
        work()
    assert done == ["inner", "outer"]


def test_a_postponed_block_without_a_signal_raises_nothing():
    before = [signal.getsignal(number) for number in interrupts.SIGNALS]
    done = []
    with interrupts.raised(), interrupts.postponed():
        done.append("postponed")
    with interrupts.raised():
        done.append("raised")
    assert done == ["postponed", "raised"]
    assert [signal.getsignal(number) for number in interrupts.SIGNALS] == before


@pytest.fixture
def nothing_ignored(monkeypatch):
    """Lists what Python ignores."""
    ignored = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    return ignored


def test_a_signal_during_a_garbage_collection_is_raised_after_it(nothing_ignored):
    """JAX has such a callback, and Python ignores what is raised in it."""

    def collecting(phase, info):
        if phase == "stop":
            os.kill(os.getpid(), signal.SIGINT)

    def work():
        gc.callbacks.append(collecting)
        try:
            gc.collect()
        finally:
            gc.callbacks.remove(collecting)
        threading.Event().wait(30)

    with pytest.raises(interrupts.Interrupted, match="SIGINT"), interrupts.raised():
        work()
    assert nothing_ignored == []


def test_a_signal_in_a_finaliser_is_raised_after_it(nothing_ignored):
    class Finalised:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)

    def work():
        Finalised()
        threading.Event().wait(30)

    with pytest.raises(interrupts.Interrupted, match="SIGTERM"), interrupts.raised():
        work()
    assert nothing_ignored == []


@pytest.mark.parametrize("raised", [interrupts.raised, builds.raised])
def test_an_error_that_code_below_made_of_a_signal_is_the_signal(raised):
    def convert():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException:
            raise TypeError from None

    with pytest.raises(builds.Interrupted, match="SIGINT"), raised():
        convert()
    with pytest.raises(TypeError), raised():
        raise TypeError


def test_other_errors_in_a_finaliser_are_reported_as_before(nothing_ignored):
    class Finalised:
        def __del__(self):
            raise KeyError("not a signal")

    with interrupts.raised():
        Finalised()
    assert [type(each.exc_value) for each in nothing_ignored] == [KeyError]


def test_a_signal_that_comes_by_two_ways_is_raised_once_and_one_that_comes_later_again(monkeypatch):
    times = [10.0]
    monkeypatch.setattr(interrupts.time, "monotonic", lambda: times[0])

    def end():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("ended")

    done = []
    with interrupts.raised():
        with pytest.raises(interrupts.Interrupted, match="SIGINT"):
            end()
        assert done == ["ended"]
        times[0] += 1.5
        with pytest.raises(interrupts.Interrupted, match="SIGTERM"):
            os.kill(os.getpid(), signal.SIGTERM)


def test_other_threads_neither_postpone_nor_fail():
    entered = threading.Event()

    def work():
        with interrupts.postponed():
            entered.set()

    thread = threading.Thread(target=work)
    with interrupts.raised():
        thread.start()
        thread.join()
        with pytest.raises(interrupts.Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
    assert entered.is_set()


def test_hosts_keep_a_signal_until_all_of_them_know_and_end_at_once_where_none_waits():
    with interrupts.raised():
        interrupts.keep_for_all()
        assert interrupts.kept() == 0
        with interrupts.postponed():
            os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.kept() == signal.SIGTERM
        with pytest.raises(interrupts.Interrupted), interrupts.raised_here():
            pytest.fail("nobody waits in this block")
        assert interrupts.kept() == signal.SIGTERM
        with pytest.raises(interrupts.Interrupted, match="SIGINT"):  # the second of two
            os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(interrupts.Interrupted), interrupts.raised():
        os.kill(os.getpid(), signal.SIGTERM)  # as before


def test_a_signal_to_one_host_is_raised_by_all_of_them(monkeypatch):
    with interrupts.raised():
        interrupts.keep_for_all()
        others = [{"value": 1}, {"value": 2, hosts.SIGNAL: int(signal.SIGTERM)}]
        monkeypatch.setattr(hosts, "_exchange", lambda message: others)
        with pytest.raises(hosts.AgreedInterrupt) as caught, hosts.ending_together():
            hosts.all_gather(None)
        assert caught.value.exit_status == 143


def test_a_signal_before_round_1_is_told_to_the_other_hosts(monkeypatch):
    told = []
    monkeypatch.setattr(hosts, "_exchange", lambda message: told.append(message) or [message])
    with interrupts.raised():
        interrupts.keep_for_all()
        with pytest.raises(interrupts.Interrupted), hosts.ending_together():
            os.kill(os.getpid(), signal.SIGTERM)
    assert told == [{hosts.SIGNAL: int(signal.SIGTERM)}]
