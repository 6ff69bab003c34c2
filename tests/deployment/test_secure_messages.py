"""Messages of secure aggregation are the same after their bytes; wrong ones are refused."""

import itertools

import numpy as np
import pytest

from f3ocus_jax.deployment import wire
from f3ocus_jax.deployment.layout import make_layout
from f3ocus_jax.deployment.parameters import Parameters
from f3ocus_jax.deployment.secure.messages import (
    MOST_SITES,
    Keys,
    KeysTask,
    MaskedTask,
    MaskedUpdate,
    Shares,
    SharesTask,
    Unmasking,
    UnmaskTask,
)
from f3ocus_jax.deployment.secure.server import SecureServer
from f3ocus_jax.deployment.secure.site import SecureSite
from f3ocus_jax.deployment.server import ANSWERS
from f3ocus_jax.errors import ProtocolError
from tests.helpers.configs import read_config
from tests.helpers.protocol_runs import closed, damaged, opened
from tests.helpers.secure_rounds import start

LAYERS, SITE, ROW, HEAD = 3, "a", 3 * 2 + 2, 5
DRAW = np.random.default_rng(7)
LAYOUT = make_layout(
    read_config("tiny"),
    {"kernel": np.zeros((LAYERS, 3, 2), np.float32), "bias": np.zeros((LAYERS, 2), np.float32)},
    {"answers": {"kernel": np.zeros(HEAD, np.float32)}},
)
ROWS_0 = {"kernel": np.zeros((0, 3, 2), np.float32), "bias": np.zeros((0, 2), np.float32)}
NOTHING_NEW = Parameters(np.zeros(0, np.int32), ROWS_0, {})
PLAYED = start([[1, 1, 0, 1], [1, 0, 1, 1], [0, 1, 1, 0]])
SEALED, CHOSEN_R = PLAYED.share(), np.array([0, 1], np.int32)


def integers(*shape, bits=32):
    return DRAW.integers(2**bits - 1, size=shape, dtype=f"uint{bits}")


UPDATE = MaskedUpdate(
    3,
    SITE,
    integers(2, ROW),
    {"answers": integers(HEAD)},
    integers(3, 2, bits=64),
    DRAW.normal(size=2).astype(np.float32),
    [bytes(range(32)), bytes(32)],
)
MESSAGES = {
    message.kind: message
    for message in (
        KeysTask(3, SITE),
        Keys(3, SITE, PLAYED.sites["a"].advertised),
        SharesTask(3, SITE, PLAYED.roster),
        Shares(3, SITE, list(SEALED["a"].values())),
        MaskedTask(
            3,
            SITE,
            2,
            NOTHING_NEW,
            np.array([0, 1], np.int32),
            3,
            2,
            {one: SEALED[one]["a"] for one in "bc"},
        ),
        UPDATE,
        UnmaskTask(3, SITE, ("a", "b"), [bytes(range(32))]),
        Unmasking(3, SITE, [bytes(33)], [bytes(range(33)), bytes(33)]),
    )
}
every_kind = pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)


def decode(data, message, **expected):
    known = {"kinds": (type(message),), "site": SITE, "round": message.round}
    return wire.decode(data, LAYOUT, wire.Expected(**{**known, **expected}))


def test_there_is_a_message_of_every_kind_and_none_that_brings_an_update_in_the_open():
    answers = SecureServer.answers
    kinds = {*answers, *itertools.chain(*answers.values())}
    plain = {*ANSWERS, *itertools.chain(*ANSWERS.values())}
    assert {kind.kind for kind in kinds - plain} == MESSAGES.keys()
    assert {kind.kind for kind in plain - kinds} == {"train_task", "update"}
    assert set(SecureSite.tasks) == answers.keys()


@every_kind
def test_a_message_is_the_same_after_its_bytes(message):
    data = wire.encode(message)
    found = decode(data, message)
    assert (type(found), found.fields()) == (type(message), message.fields())
    arrays, others = found.tensors(), message.tensors()
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        assert (array.shape, array.dtype) == (others[name].shape, others[name].dtype)
        assert array.tobytes() == others[name].tobytes()
    assert wire.encode(found) == data
    assert message.num_bytes < len(data) <= wire.most_bytes(type(message), LAYOUT)


@every_kind
def test_a_message_with_anything_else_in_it_is_refused(message):
    for what, data in damaged(wire.encode(message)):
        with pytest.raises(ProtocolError, match=f"^site {SITE}, ") as error:
            decode(data, message)
        assert "\n" not in str(error.value), what


def test_a_list_of_sites_and_the_shares_are_what_they_were():
    roster = decode(wire.encode(MESSAGES["shares_task"]), MESSAGES["shares_task"]).roster
    assert roster.hash(PLAYED.rules) == PLAYED.roster.hash(PLAYED.rules)
    task = decode(wire.encode(MESSAGES["masked_task"]), MESSAGES["masked_task"])
    assert task.sealed == MESSAGES["masked_task"].sealed
    shares = decode(wire.encode(MESSAGES["shares"]), MESSAGES["shares"])
    assert shares.sealed == MESSAGES["shares"].sealed


def test_a_message_of_no_sites_and_no_layers_is_one():
    alone = MaskedTask(3, SITE, 2, NOTHING_NEW, np.zeros(0, np.int32), 1, 1, {})
    assert decode(wire.encode(alone), alone).sealed == {}
    nothing = Shares(3, SITE, [])
    assert decode(wire.encode(nothing), nothing).sealed == []


def test_the_size_of_a_message_is_that_of_its_keys_shares_and_integers():
    """Shares of a mask key and of the seeds of three pieces, each of 33 bytes, and a tag of 16."""
    sealed = (1 + 3) * 33 + 16
    assert {kind: message.num_bytes for kind, message in MESSAGES.items()} == {
        "keys_task": 0,
        "keys": 32 + 32 + 64,
        "shares_task": 3 * (32 + 32 + 64 + 4),
        "shares": 2 * sealed,
        "masked_task": 2 * 4 + (sealed) + (sealed - 33),
        "masked_update": 4 * (2 * ROW + HEAD) + 3 * 16 + 2 * 4 + 2 * 32,
        "unmask_task": 32,
        "unmasking": 3 * 33,
    }


def changed(message, field, value):
    header, arrays = opened(wire.encode(message))
    header["fields"][field] = value
    return closed(header, arrays)


@pytest.mark.parametrize(
    ("kind", "field", "value", "problem"),
    [
        ("shares_task", "layers", 2, "layers = 2, must be 3"),
        ("shares_task", "sites", ["b", "a", "c"], "a list of names, ascending"),
        ("shares_task", "sites", [f"{n:04}" for n in range(MOST_SITES + 1)], "1025 sites"),
        ("shares", "pieces", 5, "pieces = 5, must be at most 4"),
        ("shares", "others", 3, r"must be \(3, 148\)"),
        ("masked_task", "sizes", [1], "sizes must be one of each site"),
        ("masked_task", "sizes", [10**9, 1], "sizes must be one of each site"),
        ("masked_task", "sizes", [-1, 1], "sizes = .* a list of whole numbers"),
        ("masked_update", "layers", 4, "layers = 4 and steps = 2, must be at most 3 and 2"),
        ("masked_update", "heads", ["legs"], "unknown entry of the head: 'legs'"),
        ("masked_update", "layers", 1, r"must be \(1, 8\)"),
        ("masked_update", "others", MOST_SITES + 1, "1025 sites, must be at most 1024"),
        ("unmask_task", "sites", [], r"must be \(0, 32\)"),
        ("unmasking", "keys", MOST_SITES + 1, "keys = 1025, must be at most 1024"),
    ],
)
def test_the_error_says_what_is_wrong(kind, field, value, problem):
    message = MESSAGES[kind]
    with pytest.raises(ProtocolError, match=problem):
        decode(changed(message, field, value), message)
