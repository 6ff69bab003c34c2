"""The transport over NVFlare's Collab API, with stand-ins for its proxies."""

import threading

import pytest

pytest.importorskip("nvflare")

from nvflare.collab import CollabCallError

from f3ocus_jax.deployment.nvflare.collab_transport import CollabTransport
from f3ocus_jax.errors import HostError


class Proxy:
    """A site whose answer is its name and the task, once it may answer."""

    def __init__(self, name, error=None):
        self.name, self.error, self.may_answer = name, error, threading.Event()
        self.timeouts = []

    def __call__(self, timeout):
        self.timeouts.append(timeout)
        return self

    def answer(self, task):
        assert self.may_answer.wait(60)
        if self.error:
            raise CollabCallError(self.name, "answer", self.error)
        return self.name.encode() + task


def connected(*sites, is_aborted=lambda: False):
    proxies = {site.name: site for site in sites}
    return CollabTransport(proxies, 5.0, is_aborted)


def test_answers_come_as_they_are_given_and_not_as_they_were_asked_for():
    north, south = Proxy("north"), Proxy("south")
    with connected(north, south) as transport:
        transport.send("north", b"1")
        transport.send("south", b"2")
        assert transport.receive(0) is None
        south.may_answer.set()
        assert transport.receive(60) == ("south", b"south2")
        north.may_answer.set()
        assert transport.receive(60) == ("north", b"north1")
    assert north.timeouts == south.timeouts == [5.0]


def test_a_call_that_fails_is_no_answer_and_is_logged(caplog):
    north = Proxy("north", error="it is gone")
    north.may_answer.set()
    with connected(north) as transport:
        transport.send("north", b"1")
        assert transport.receive(0.5) is None
    assert "site north: call to north.answer failed: it is gone" in caplog.text


def test_a_site_that_is_not_in_the_job_is_named_in_the_log(caplog):
    with connected(Proxy("north")) as transport:
        transport.send("south", b"1")
        assert transport.receive(0) is None
    assert "site south is not in this job" in caplog.text


def test_a_new_task_reaches_a_site_that_still_works_on_an_old_one():
    north = Proxy("north")
    with connected(north) as transport:
        transport.send("north", b"old")
        transport.send("north", b"new")
        north.may_answer.set()
        assert {transport.receive(60)[1], transport.receive(60)[1]} == {b"northold", b"northnew"}


def test_an_aborted_job_ends_the_wait():
    transport = connected(Proxy("north"), is_aborted=lambda: True)
    with transport, pytest.raises(HostError, match="aborted"):
        transport.receive(60)
