"""A federation over the protocol is the simulator's, bit for bit, whatever else arrives."""

import functools

import jax
import numpy as np
import pytest

from f3ocus_jax.deployment import wire
from f3ocus_jax.errors import ProtocolError
from f3ocus_jax.federation import presets
from tests.helpers.marking import marked
from tests.helpers.protocol_runs import (
    check_same,
    damaged,
    over_protocol,
    read_parts,
    simulated,
)

QUICK = "fd"
EXTENDED = ("f3ocus", "feddat")
DEPLOYED = [method for method in presets.METHODS if method != "scaffold"]
"""Without the method whose controls messages have no place for."""


@pytest.fixture(scope="module")
def parts(data_dir):
    return read_parts(f"tiny_{QUICK}", data_dir)


def same_rows(state, other):
    """True if two states have the same layers."""
    pairs = zip(*(jax.tree.leaves(each.rows_L) for each in (state, other)), strict=True)
    return all(np.array_equal(one, two) for one, two in pairs)


def check_refused(receive, data, what):
    """Fails unless a half refuses bytes in one line that names the site."""
    with pytest.raises(ProtocolError, match=r"\Asite [^\n]+\Z"):
        assert receive(data) is None, f"{what} is taken for a message"


def attack(receive, right, earlier, half, seen):
    """Sends what is wrong to a half, and older messages again."""
    for what, data in [*damaged(right), *((f"old {half}", data) for data in earlier)]:
        # Only the server knows which round it is.
        if what != "a later round" or half == "answer":
            check_refused(receive, data, what)
            seen.add(what)


def with_attacks(server, sites, seen):
    """An exchange in which every right message comes after wrong ones, and then once more."""
    victim, other = list(sites)[:2]
    for name, site in sites.items():
        receive = functools.partial(server.admit, name)
        attack(receive, wire.encode(site.ready()), (), "ready", seen)
        receive(wire.encode(site.ready()))
    earlier = {"task": [], "answer": []}

    def exchange(tasks):
        for name, task in tasks.items():
            take = functools.partial(server.take, name)
            if name != victim:
                take(sites[name].answer(task))
                continue
            attack(sites[name].answer, task, earlier["task"], "task", seen)
            answer = sites[name].answer(task)
            check_refused(sites[name].answer, task, "the same task twice")
            attack(take, answer, earlier["answer"], "answer", seen)
            check_refused(functools.partial(server.take, other), answer, "that of another site")
            check_refused(functools.partial(server.take, "x"), answer, "that of no site")
            take(answer)
            check_refused(take, answer, "the same answer twice")
            earlier["task"].append(task)
            earlier["answer"].append(answer)
        assert server.missing == []

    return exchange


def test_wrong_messages_are_refused_and_the_run_stays_the_simulator_s_bit_for_bit(parts):
    seen = set()
    found = over_protocol(parts, functools.partial(with_attacks, seen=seen))
    check_same(found, simulated(parts))
    assert not same_rows(found[0], parts.start)
    wanted = {"truncated", "random", "too large", "an unknown array", "NaN in losses"}
    assert wanted | {"NaN in scores", "old task", "old answer", "a later round"} <= seen


@pytest.mark.parametrize(
    "method",
    marked(
        [method for method in DEPLOYED if method != QUICK],
        [method for method in DEPLOYED if method not in (QUICK, *EXTENDED)],
        extended=EXTENDED,
    ),
)
def test_every_deployed_method_is_the_simulator_s_bit_for_bit(method, data_dir):
    parts = read_parts(f"tiny_{method}", data_dir)
    found = over_protocol(parts)
    check_same(found, simulated(parts))
    assert all(client.train_loss > 0 for client in found[2][-1].clients)
