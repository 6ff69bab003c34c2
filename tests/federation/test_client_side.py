"""A client's half of a round, with scores and training that are known."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.clients import LocalTask, feddat, local
from f3ocus_jax.clients.local import LocalUpdate
from f3ocus_jax.clients.settings import TrainingConfig
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import client_side
from f3ocus_jax.importance import Importance
from f3ocus_jax.models.blocks import lora
from f3ocus_jax.types import ClientMemory
from tests.helpers import families

SHARED = ("frozen", "rows", "head")


def test_local_training_takes_steps_of_adamw():
    """The first two steps, by the formulas of Loshchilov and Hutter (2019)."""
    rate, decay = 0.05, 0.2
    settings = TrainingConfig(learning_rate=rate, weight_decay=decay)
    optimizer = client_side.make_local_optimizer(settings)
    weights = start = np.array([2.0, -1.0], np.float32)
    state, first, second = optimizer.init(start), 0.0, 0.0
    for step, slope in enumerate(np.array([[0.5, -2.0], [1.0, 3.0]], np.float32), start=1):
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        moved = (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        change, state = optimizer.update(slope, state, weights)
        np.testing.assert_allclose(change, -rate * (moved + decay * weights), rtol=1e-3)
        weights = weights + np.asarray(change)


def test_local_training_may_take_plain_steps_of_sgd():
    settings = TrainingConfig(optimizer="sgd", learning_rate=0.5, weight_decay=0.2)
    optimizer = client_side.make_local_optimizer(settings)
    weights, slope = np.array([2.0, -1.0], np.float32), np.array([0.5, -2.0], np.float32)
    state = optimizer.init(weights)
    for _ in range(2):
        change, state = optimizer.update(slope, state, weights)
        np.testing.assert_array_equal(change, -0.5 * slope)


def test_sgd_has_no_moments_to_keep():
    with pytest.raises(ConfigError, match=r"optimizer_state = 'kept', must be 'reset' where .*sgd"):
        TrainingConfig(optimizer="sgd", optimizer_state="kept")


@pytest.mark.parametrize(
    ("name", "stack"),
    [
        pytest.param(*case, marks=() if case[0] == "vilt" else pytest.mark.extended)
        for case in families.CASES
    ],
)
def test_matrices_alone_decay_where_the_run_says_so(name, stack):
    """By the number of axes, in blocks, adapters, low-rank changes and heads."""
    spec = families.TINY[name](selectable=stack)
    params = jax.eval_shape(families.FAMILY_OF[name].make_model(spec).init, jax.random.key(0))
    params["lora"] = jax.eval_shape(
        lambda blocks: lora.init_stack(jax.random.key(0), blocks, 2), params["blocks"]
    )
    for key, axes in {"blocks": 3, "adapters": 3, "lora": 3, "head": 2}.items():
        shapes = params.get(key, {})
        assert decayed(shapes) == jax.tree.map(lambda leaf, axes=axes: leaf.ndim >= axes, shapes)


def decayed(shapes):
    """True for parameters that a step of weight decay alone moves."""
    ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
    zeros = jax.tree.map(np.zeros_like, ones)
    settings = TrainingConfig(weight_decay=0.5, decay="matrices")
    optimizer = client_side.make_local_optimizer(settings)
    updates, _ = optimizer.update(zeros, optimizer.init(ones), ones)
    return jax.tree.map(lambda leaf: bool(np.any(leaf)), updates)


def make(*, measure=None, **training):
    importance = types.SimpleNamespace(
        make=lambda name, context: measure, reduction="sum", probe_batches=1
    )
    make_anew = client_side.make_client_side.__wrapped__  # not one that an equal call has made
    return make_anew(
        "model",
        importance=importance,
        training=TrainingConfig(**training),
        loss="cross_entropy",
        skip_frozen=True,
    )


def test_eigenvectors_stay_with_the_client_and_start_its_next_search():
    given = []

    def measure(*arguments):
        given.append(arguments)
        return Importance(scores_L="scores", values_L="values", vectors_LNC="new")

    side = make(measure=measure)
    found, memory = side.score(SHARED, ClientMemory(vectors_LNC="old"), "batch", "key")
    assert given == [(*SHARED, "batch", "key", "old")]
    assert memory.vectors_LNC == "new"
    assert (found.scores_L, found.vectors_LNC) == ("scores", None)
    _, memory = side.score(SHARED, ClientMemory(), "batch", "key")
    assert given[1] == (*SHARED, "batch", "key")
    assert memory == ClientMemory()


@pytest.mark.parametrize("finite", [True, False])
def test_personal_layers_stay_with_the_client_and_are_kept_only_if_finite(finite, monkeypatch):
    trained = np.array([1.0, 2.0 if finite else np.nan])
    made = LocalUpdate({"w": np.zeros(2)}, {}, np.zeros(3), personal_L={"w": trained})
    given = []
    monkeypatch.setattr(
        feddat, "make_feddat_training", lambda *_, **__: lambda *task: given.append(task) or made
    )
    side, before = make(dual_adapters=True), {"w": jnp.array([5.0, 6.0])}
    task = LocalTask("choice", "batches", 3)
    update, memory = side.train(SHARED, ClientMemory(personal_L=before), task)
    assert given == [(*SHARED, dataclasses.replace(task, personal_L=before))]
    assert bool(update.finite) == finite
    np.testing.assert_array_equal(memory.personal_L["w"], trained if finite else [5.0, 6.0])
    assert (update.rows_R, update.losses_S) == (made.rows_R, made.losses_S)


def test_local_training_is_made_with_the_run_s_settings(monkeypatch):
    given = {}
    monkeypatch.setattr(local, "make_local_training", lambda model, **kw: given.update(kw))
    settings = {"unit": "block", "proximal": 0.3, "accumulate": 2, "precision": "bfloat16"}
    make(rematerialise=True, batch_size=4, **settings)
    expected = settings | {"rematerialise": True, "loss": "cross_entropy", "skip_frozen": True}
    assert {name: given[name] for name in expected} == expected


def test_both_parts_are_compiled():
    """Functions of arrays alone, as the simulator maps them over clients."""
    side = make(measure=lambda *given: Importance(given[-1] * 2.0, given[-1]))
    found, _ = jax.jit(side.score)((), ClientMemory(), (), jnp.ones(3))
    np.testing.assert_array_equal(found.scores_L, [2.0, 2.0, 2.0])
