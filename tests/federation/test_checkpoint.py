import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from f3ocus_jax.config import parsing
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import assembly, checkpoint, sealed_steps
from f3ocus_jax.federation.checkpoint import Checkpoints, check_settings, directory
from f3ocus_jax.federation.settings import CheckpointConfig
from f3ocus_jax.models import foundation as foundation_lib
from f3ocus_jax.types import ClientMemory, ClientRecord, Controls, RoundRecord, ServerState
from tests.helpers.configs import read_config

MEMORY = ClientMemory(np.arange(6, dtype=np.float32).reshape(1, 3, 2, 1), {"bias": np.ones((1, 3))})
SETTINGS = {"seed": 0, "federated.rounds": 3, "federated.budgets": [1, 2]}


def state(number):
    rows_L = {"kernel": jnp.full((3, 2), float(number)), "bias": jnp.arange(3.0)}
    front_mask_PKL = np.zeros((2, 1, 3), bool)
    front_mask_PKL[0, 0, number % 3] = True
    optimizer = {"momentum": jnp.full(3, number + 0.5), "count": jnp.int32(number + 7)}
    head = {"kernel": jnp.ones(2) / 3}
    return ServerState(rows_L, head, jnp.int32(number), front_mask_PKL, optimizer)


def record(number, validation):
    """A round that is the better on the test examples, the worse it is on validation."""
    measured = {} if validation is None else {"accuracy": validation}
    test = {"accuracy": 1 - (validation or 0)}
    client = ClientRecord(
        *("eye", 8, 1, None, [1.5], [1e-5], [1.0], [0], [0], 0.1, test), validation=measured
    )
    seconds = {"training": 1.0}
    return RoundRecord(number, test["accuracy"], 0.5, [client], None, seconds, validation)


def saved(folder, accuracies, **kept):
    """Checkpoints of as many rounds as there are accuracies on validation examples."""
    config = CheckpointConfig(**({"directory": "", "keep_last": 9, "keep_best": 1} | kept))
    records = []
    with Checkpoints(folder, config, SETTINGS) as checkpoints:
        for number, accuracy in enumerate(accuracies):
            records.append(record(number, accuracy))
            checkpoints.save(state(number), MEMORY, records)
    return config


def test_a_round_comes_back_bit_for_bit_with_all_records(tmp_path):
    config = saved(tmp_path, [0.1, 0.2, 0.3])
    with Checkpoints(tmp_path, config, SETTINGS) as checkpoints:
        *restored, records = checkpoints.restore(state(0), MEMORY)
    known = jax.tree.leaves((state(2), MEMORY))
    for leaf, expected in zip(jax.tree.leaves(restored), known, strict=True):
        np.testing.assert_array_equal(leaf, expected)
        assert leaf.dtype == expected.dtype
    assert records == [record(number, 0.1 * (number + 1)) for number in range(2)] + [record(2, 0.3)]


def test_controls_come_back_bit_for_bit(tmp_path):
    def with_controls(value):
        own = Controls({"kernel": jnp.full((3, 2), value)}, {"kernel": jnp.full(2, -value)})
        memory = dataclasses.replace(
            MEMORY, controls=jax.tree.map(lambda leaf: 3 * leaf[None], own)
        )
        return dataclasses.replace(state(1), controls=own), memory

    config, expected = CheckpointConfig(), with_controls(0.1)
    with Checkpoints(tmp_path, config, SETTINGS) as checkpoints:
        checkpoints.save(*expected, [record(1, 0.5)])
    with Checkpoints(tmp_path, config, SETTINGS) as checkpoints:
        *found, _ = checkpoints.restore(*with_controls(0.0))
    assert jax.tree.structure(tuple(found)) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("given", "expected"), [("", "runs/x/checkpoints"), ("gs://bucket/x", "gs://bucket/x")]
)
def test_checkpoints_are_in_the_workdir_or_on_any_path_that_orbax_takes(
    given, expected, monkeypatch
):
    address = type(epath.Path("gs://bucket/x"))
    monkeypatch.setattr(address, "exists", lambda path: False)  # as of a bucket that is reached
    folder = directory(CheckpointConfig(given, 1, 1), "runs/x")
    assert isinstance(folder, epath.Path)
    assert str(folder) == expected


def test_the_newest_and_the_best_rounds_are_kept(tmp_path):
    config = saved(tmp_path, [0.1, 0.9, 0.2, 0.3, 0.4], keep_last=2, keep_best=1)
    with Checkpoints(tmp_path, config, SETTINGS) as checkpoints:
        assert checkpoints.rounds() == [1, 3, 4]
        assert checkpoints.best() == checkpoint.best_whole(epath.Path(tmp_path)) == 1
        assert checkpoints.latest() == 4
        restored, *_ = checkpoints.restore(state(0), MEMORY, checkpoints.best())
    assert int(restored.round) == 1


def test_the_later_of_two_equal_rounds_is_kept(tmp_path):
    saved(tmp_path, [0.1, 0.9, 0.9, 0.3], keep_last=1, keep_best=1)
    assert sealed_steps.steps(epath.Path(tmp_path)) == [2, 3]
    assert checkpoint.best_whole(epath.Path(tmp_path)) == 2


def test_without_validation_examples_the_last_round_is_the_best(tmp_path):
    saved(tmp_path, [None, None, None], keep_last=2, keep_best=1)
    assert sealed_steps.steps(epath.Path(tmp_path)) == [1, 2]
    assert checkpoint.best_whole(epath.Path(tmp_path)) == 2


def test_a_round_that_is_not_kept_leaves_in_one_step(tmp_path, monkeypatch):
    monkeypatch.setattr(sealed_steps.StepWriter, "_delete", lambda self: None)  # as if killed
    config = saved(tmp_path, [0.1, 0.2, 0.3], keep_last=1)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"2", "deleted"}
    assert {path.name for path in (tmp_path / "deleted").iterdir()} == {"0", "1"}
    monkeypatch.undo()
    with Checkpoints(tmp_path, config, SETTINGS):
        assert [path.name for path in tmp_path.iterdir()] == ["2"]


def test_another_config_is_refused_and_every_difference_named(tmp_path):
    config = saved(tmp_path, [0.1])
    changed = SETTINGS | {"seed": 1, "federated.budgets": [2, 2], "federated.rounds": 9}
    with (
        Checkpoints(tmp_path, config, changed) as checkpoints,
        pytest.raises(ConfigError) as caught,
    ):
        checkpoints.restore(state(0), MEMORY)
    assert "seed was 0, is 1" in str(caught.value)
    assert "federated.budgets was [1, 2], is [2, 2]" in str(caught.value)
    assert "rounds" not in str(caught.value)


def test_a_round_that_is_not_there_is_named(tmp_path):
    config = saved(tmp_path, [0.1])
    with (
        Checkpoints(tmp_path, config, SETTINGS) as checkpoints,
        pytest.raises(FileNotFoundError, match=r"no checkpoint of round 7; on disk: \[0\]"),
    ):
        checkpoints.restore(state(0), MEMORY, 7)


PLACES = ("checkpoint.directory", "data.data_dir", "data.manual_dir")
MACHINES = (
    "distributed.coordinator",
    "distributed.host",
    "distributed.hosts",
    "federated.clients_at_once",
    "federated.clients_in_memory",
    "federated.placement",
)
LENGTHS = ("checkpoint.keep_best", "checkpoint.keep_last", "checkpoint.every", "federated.rounds")
BESIDE_RESULTS = ("evaluation.features", "profile.rounds", "report.page_every")
FREE = {*PLACES, *MACHINES, *LENGTHS, *BESIDE_RESULTS}
"""What does not change the numbers of a round."""


def test_where_and_how_long_may_differ_at_a_resume_and_nothing_else_may():
    settings = parsing.flatten(read_config("tiny"))
    assert settings.keys() >= FREE | {"training.batch_size", "data.partition_seed", "seed"}
    for name in settings:
        changed = settings | {name: "another"}
        if name in FREE:
            check_settings(settings, changed)
        else:
            with pytest.raises(ConfigError, match=f"{name} was .*, is 'another'"):
                check_settings(settings, changed)


def test_a_checkpoint_is_bound_to_the_weights_that_the_run_started_from():
    params = {"blocks": {"kernel": np.ones((2, 3), np.float32)}}
    other = jax.tree.map(lambda leaf: np.nextafter(leaf, np.float32(2)), params)
    first, same, second = (
        foundation_lib.fingerprint(weights) for weights in (params, jax.device_put(params), other)
    )
    assert first == same != second
    with pytest.raises(ConfigError, match=f"fingerprint was '{first}', is '{second}'"):
        check_settings(bound_to(first), bound_to(second))


def bound_to(fingerprint):
    """Settings of a run that starts from weights of this fingerprint."""
    foundation = types.SimpleNamespace(fingerprint=fingerprint, answers=(), findings=())
    return assembly.bound_settings(read_config("tiny"), foundation, ["eye"])


@pytest.mark.parametrize(
    ("last", "best", "expected"),
    [(1, 1, [1, 5]), (1, 3, [1, 2, 4, 5]), (3, 1, [1, 3, 4, 5]), (2, 0, [4, 5])],
)
def test_newest_and_best_rounds_are_counted_apart(last, best, expected, tmp_path):
    accuracies = [0.1, 0.9, 0.8, 0.3, 0.5, 0.2]
    config = saved(tmp_path, accuracies, keep_last=last, keep_best=best)
    with Checkpoints(tmp_path, config, SETTINGS) as checkpoints:
        assert checkpoints.rounds() == expected


def test_a_setting_that_one_side_lacks_is_a_difference():
    with pytest.raises(ConfigError, match="new was None, is 3"):
        check_settings({}, {"new": 3})


def test_the_hash_of_names_is_that_of_older_checkpoints():
    """By `printf '["no", "yes"]' | sha256sum`; their order counts."""
    assert checkpoint.hash_names(["no", "yes"]) == "34dc3d20270b6223"
    assert checkpoint.hash_names(["yes", "no"]) != "34dc3d20270b6223"
