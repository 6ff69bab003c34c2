"""Files of runs damaged at random: an older whole checkpoint, one line, or the same result."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax._command_line import EXPECTED_ERRORS
from f3ocus_jax.errors import DamagedError
from f3ocus_jax.federation import checkpoint, sealed_steps
from f3ocus_jax.federation.checkpoint import Checkpoints
from f3ocus_jax.federation.settings import CheckpointConfig
from f3ocus_jax.types import ClientMemory, ClientRecord, RoundRecord, ServerState
from tests.helpers import damage

CONFIG = CheckpointConfig(directory="", keep_last=9, keep_best=1)
SETTINGS = {"seed": 0, "names of answers": checkpoint.hash_names(["no", "yes"])}
ROUNDS = 3


def state(number):
    rows_L = {"kernel": jnp.full((3, 2), float(number)), "bias": jnp.arange(3.0) * number}
    front_mask_PKL = np.zeros((2, 1, 3), bool)
    return ServerState(rows_L, {"kernel": jnp.ones(2) / 3}, jnp.int32(number), front_mask_PKL)


def records(number):
    client = ClientRecord("eye", 8, 1, None, [], [], [1.0], [0], [0], 0.1, {"accuracy": 0.5})
    return [RoundRecord(each, 0.1 * each, 0.5, [client], None, {}) for each in range(number + 1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = sealed_steps.epath.Path(tmp_path_factory.mktemp("checkpoints"))
    with Checkpoints(folder, CONFIG, SETTINGS) as checkpoints:
        for number in range(ROUNDS):
            checkpoints.save(state(number), ClientMemory(), records(number))
    return folder


def assert_whole(folder, number):
    """Asserts that a round restores to what was saved."""
    *found, kept = checkpoint.restore(folder, number, state(0), ClientMemory(), SETTINGS)
    expected = jax.tree.leaves(state(number))
    for leaf, other in zip(jax.tree.leaves(found), expected, strict=True):
        np.testing.assert_array_equal(leaf, other)
    assert kept == records(number)


def refusal(folder, number):
    """The message with which a round is refused; None if it restores to what was saved."""
    try:
        assert_whole(folder, checkpoint.best_whole(folder, number))
    except EXPECTED_ERRORS as error:
        return str(error)
    return None


def assert_nothing_is_silent(folder, draw):
    with damage.damaged(folder, draw) as what:
        for order in (checkpoint.by_preference(folder), [2, 1, 0]):
            chosen, _ = sealed_steps.first_whole(folder, order)
            assert refusal(folder, chosen) is None, what
        for number in range(ROUNDS):
            message = refusal(folder, number)
            if message is not None:
                assert str(folder / str(number)) in message, what
                assert "\n" not in message, what


def test_an_older_whole_checkpoint_stands_in_for_a_damaged_one(folder):
    for seed in range(12):
        assert_nothing_is_silent(folder, random.Random(seed))
    assert_whole(folder, 2)


@pytest.mark.extended
def test_none_of_many_damages_to_checkpoints_is_silent(folder):
    for seed in range(250):
        assert_nothing_is_silent(folder, random.Random(f"many {seed}"))
    assert_whole(folder, 2)


def test_every_file_of_a_checkpoint_is_missed_by_name(folder):
    for path in damage.files(folder / "2"):
        whole = path.read_bytes()
        path.unlink()
        if path.name == "commit_success.txt" and path.parent.name == "2":
            assert_whole(folder, 2)
        else:
            with pytest.raises(DamagedError, match=path.name):
                checkpoint.restore(folder, 2, state(0), ClientMemory(), SETTINGS)
        path.write_bytes(whole)


def test_a_round_under_the_number_of_another_is_refused(folder):
    (folder / "2").rename(folder / "7")
    with pytest.raises(DamagedError, match="holds round 2"):
        checkpoint.restore(folder, 7, state(0), ClientMemory(), SETTINGS)
    (folder / "7").rename(folder / "2")


def test_a_folder_without_a_whole_checkpoint_is_refused_in_one_line(folder):
    whole = {path: path.read_bytes() for path in folder.glob("*/f3ocus_manifest.json")}
    for path in whole:
        path.unlink()
    with pytest.raises(
        DamagedError, match=r"no whole checkpoint is in .*f3ocus_manifest\.json is missing"
    ):
        checkpoint.best_whole(folder)
    for path, content in whole.items():
        path.write_bytes(content)


def test_other_answers_or_another_order_are_refused(folder):
    other = SETTINGS | {"names of answers": checkpoint.hash_names(["yes", "no"])}
    with pytest.raises(checkpoint.ConfigError, match="the names of answers or their order changed"):
        checkpoint.restore(folder, 2, state(0), ClientMemory(), other)


def test_other_versions_are_said_in_one_line(folder, caplog, monkeypatch):
    monkeypatch.setattr(checkpoint, "versions", lambda: {"jax": "0.0.1"})
    assert_whole(folder, 2)
    (line,) = caplog.messages
    assert "checkpoint 2 was written by other versions: jax was " in line
    assert "is 0.0.1" in line


def test_a_damaged_step_is_set_aside_and_its_number_is_free_again(tmp_path):
    folder = sealed_steps.epath.Path(tmp_path)
    with Checkpoints(folder, CONFIG, SETTINGS) as checkpoints:
        for number in range(ROUNDS):
            checkpoints.save(state(number), ClientMemory(), records(number))
    (folder / "0" / "metrics" / "metrics").write_text("{")
    (folder / "2" / "state" / "manifest.ocdbt").unlink()
    newest, damaged = sealed_steps.first_whole(folder, [2, 1, 0])
    assert (newest, damaged) == (1, [2])
    sealed_steps.set_aside(folder, damaged)
    assert sealed_steps.steps(folder) == [1]
    assert {path.name for path in folder.iterdir()} == {"0.damaged", "1", "2.damaged"}
    with Checkpoints(folder, CONFIG, SETTINGS) as checkpoints:
        checkpoints.save(state(2), ClientMemory(), records(2))
    assert_whole(folder, 2)
