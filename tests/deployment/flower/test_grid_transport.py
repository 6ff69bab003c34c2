"""The transport over a grid of SuperNodes, with a stand-in for Flower and for its clock."""

import itertools
import types

import pytest

from f3ocus_jax.deployment.flower.grid_transport import (
    LONGEST_RETRY_SECONDS,
    POLL_SECONDS,
    RETRY_SECONDS,
    GridTransport,
)


class Reply:
    """A reply of Flower: an answer or an error."""

    def __init__(self, answer=None, error=None):
        self.answer, self.error = answer, types.SimpleNamespace(reason=error)
        self._has_error = error is not None

    def has_error(self):
        return self._has_error


def read(reply):
    if reply.answer is None:
        raise ValueError("the message is none of this package")
    return reply.answer


class Grid:
    """SuperNodes that are online, messages that were sent, and replies that wait."""

    def __init__(self, **nodes):
        self.online, self.sent, self.replies, self.time = [], {}, {}, 0.0
        self.takes_messages = True
        for name, node in nodes.items():
            self.connect(node, name)

    def connect(self, node, name):
        at = f"2026-01-01T00:00:{len(self.online):02}"
        self.online.append(types.SimpleNamespace(node_id=node, name=name, registered_at=at))

    def disconnect(self, node):
        self.online = [each for each in self.online if each.node_id != node]

    def get_nodes(self):
        return list(self.online)

    def push_messages(self, messages):
        (message,) = messages
        assert message[1] in {node.node_id for node in self.online}
        if not self.takes_messages:
            return [None]
        name = f"m{len(self.sent)}"
        self.sent[name] = message
        return [name]

    def pull_messages(self, names):
        (name,) = names
        assert name in self.sent
        return [self.replies.pop(name)] if name in self.replies else []

    def reply(self, name, *args, **kwargs):
        self.replies[name] = Reply(*args, **kwargs)

    def sleep(self, seconds):
        assert 0 < seconds <= POLL_SECONDS
        self.time += seconds

    def transport(self):
        def make(task, node):
            return task, node

        return GridTransport(self, make, read, clock=lambda: self.time, sleep=self.sleep)


def test_tasks_go_to_the_nodes_of_their_sites_and_answers_carry_the_names_of_the_sites():
    grid = Grid(north=11, south=12)
    transport = grid.transport()
    transport.send("north", b"1")
    transport.send("south", b"2")
    assert transport.receive(0) is None
    assert set(grid.sent.values()) == {(b"1", 11), (b"2", 12)}
    names = {node: name for name, (_, node) in grid.sent.items()}
    grid.reply(names[12], b"two")
    assert transport.receive(0) == ("south", b"two")
    grid.reply(names[11], b"one")
    assert transport.receive(0) == ("north", b"one")
    assert len(grid.sent) == 2


def test_receive_waits_as_long_as_it_was_told():
    grid = Grid(north=11)
    transport = grid.transport()
    assert transport.receive(3.2) is None
    assert grid.time == pytest.approx(3.2)


def test_a_task_waits_for_a_site_that_is_not_online_yet():
    grid = Grid()
    transport = grid.transport()
    transport.send("north", b"old")
    assert transport.receive(1) is None
    transport.send("north", b"new")
    grid.connect(11, "north")
    assert transport.receive(1) is None
    assert grid.sent == {"m0": (b"new", 11)}


def test_the_same_task_is_not_sent_twice_while_it_is_under_way():
    grid = Grid(north=11)
    transport = grid.transport()
    for _ in range(3):
        transport.send("north", b"1")
        transport.receive(0)
    assert len(grid.sent) == 1
    grid.reply("m0", b"one")
    assert transport.receive(0) == ("north", b"one")
    transport.send("north", b"1")
    transport.receive(0)
    assert len(grid.sent) == 2


def test_an_answer_to_an_older_task_is_handed_on_and_the_newer_task_stays_under_way():
    grid = Grid(north=11)
    transport = grid.transport()
    transport.send("north", b"old")
    transport.receive(0)
    transport.send("north", b"new")
    transport.receive(0)
    grid.reply("m0", b"to the old one")
    assert transport.receive(0) == ("north", b"to the old one")
    grid.reply("m1", b"to the new one")
    assert transport.receive(0) == ("north", b"to the new one")


def test_a_node_that_is_registered_anew_gets_the_task_of_its_site(caplog):
    grid = Grid(north=11)
    transport = grid.transport()
    transport.send("north", b"1")
    transport.receive(0)
    grid.disconnect(11)
    grid.reply("m0", error="Node unavailable")
    grid.connect(77, "north")
    assert transport.receive(RETRY_SECONDS + 1) is None
    assert grid.sent == {"m0": (b"1", 11), "m1": (b"1", 77)}
    assert "site north: Node unavailable" in caplog.text


@pytest.mark.parametrize("reply", [{"error": "no process of the site\nlistens"}, {"answer": None}])
def test_an_error_is_no_answer_and_the_task_is_sent_again_after_a_while(reply, caplog):
    grid = Grid(north=11)
    transport = grid.transport()
    transport.send("north", b"1")
    transport.receive(0)
    grid.reply("m0", **reply)
    assert transport.receive(RETRY_SECONDS - 1) is None
    assert len(grid.sent) == 1
    assert transport.receive(2) is None
    assert grid.sent["m1"] == (b"1", 11)
    assert "site north: " in caplog.text
    assert "\n" not in caplog.records[0].getMessage()


def test_a_site_that_fails_again_and_again_is_asked_less_and_less_often_until_a_new_task():
    grid = Grid(north=11)
    transport = grid.transport()
    transport.send("north", b"1")
    times = []
    for number in range(7):
        while len(grid.sent) == number:
            transport.receive(POLL_SECONDS)
        times.append(grid.time)
        grid.reply(f"m{number}", error="it did not start")
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    expected = [RETRY_SECONDS * 2**power for power in range(5)]
    assert waits == pytest.approx([*expected, LONGEST_RETRY_SECONDS], abs=2 * POLL_SECONDS)
    transport.receive(0)
    transport.send("north", b"2")
    transport.receive(0)
    assert grid.sent["m7"] == (b"2", 11)


def test_an_error_to_an_older_task_is_forgotten():
    grid = Grid(north=11)
    transport = grid.transport()
    transport.send("north", b"old")
    transport.receive(0)
    transport.send("north", b"new")
    transport.receive(0)
    grid.reply("m0", error="gone")
    assert transport.receive(RETRY_SECONDS + 1) is None
    assert len(grid.sent) == 2


def test_a_message_that_flower_does_not_take_is_sent_again():
    grid = Grid(north=11)
    grid.takes_messages = False
    transport = grid.transport()
    transport.send("north", b"1")
    transport.receive(0)
    grid.takes_messages = True
    transport.receive(RETRY_SECONDS + 1)
    assert grid.sent == {"m0": (b"1", 11)}


def test_nodes_without_a_name_or_of_another_site_get_nothing_and_are_said_once(caplog):
    grid = Grid(east=9)
    grid.connect(11, "")
    transport = grid.transport()
    transport.send("north", b"1")
    assert transport.receive(3) is None
    assert grid.sent == {}
    assert [record.getMessage() for record in caplog.records] == [
        "SuperNode 11 is registered without a name"
    ]


def test_of_two_nodes_of_one_name_the_later_one_is_the_site(caplog):
    grid = Grid(north=11)
    grid.connect(5, "north")
    transport = grid.transport()
    transport.send("north", b"1")
    transport.receive(3)
    assert grid.sent == {"m0": (b"1", 5)}
    assert caplog.text.count("two SuperNodes are registered as 'north'") == 1
