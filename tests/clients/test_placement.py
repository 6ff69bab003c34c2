import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

from f3ocus_jax.clients import Choice, LocalTask, backends, local, placement
from f3ocus_jax.models import units
from f3ocus_jax.models.vilt import model as vilt
from tests.helpers.models import random_params, tiny_batch, tiny_vilt
from tests.helpers.oracles import toy_batch, toy_model

LAYERS, CLIENTS, STEPS, RATE = 4, 9, 3, 1e-2


def tasks(seed=0):
    """Nine clients with different data, layers, budgets and step counts."""
    draw = np.random.default_rng(seed)
    layers_KR = np.full((CLIENTS, 3), LAYERS, np.int32)
    for client in range(CLIENTS):
        budget = 1 + client % 3
        layers_KR[client, :budget] = np.sort(draw.permutation(LAYERS)[:budget])
    batches = [
        [toy_batch(4, seed=100 * seed + 10 * client + step) for step in range(STEPS)]
        for client in range(CLIENTS)
    ]
    stack = functools.partial(jax.tree.map, lambda *leaves: np.stack(leaves))
    batches_KS = stack(*[stack(*steps) for steps in batches])
    steps_K = np.array([1 + client % STEPS for client in range(CLIENTS)], np.int32)
    return LocalTask(Choice(layers_KR), batches_KS, steps_K)


def trainer(name, unit, *, clients_at_once=1, skip_frozen=True):
    train = local.make_local_training(
        toy_model(layers=LAYERS),
        unit=unit,
        loss="cross_entropy",
        optimizer=optax.adamw(RATE),
        skip_frozen=skip_frozen,
    )
    return placement.make_map(
        lambda shared, task: train(*shared, task), placement=name, clients_at_once=clients_at_once
    )


@pytest.fixture(scope="module")
def shared():
    return units.split(toy_model(layers=LAYERS).init(jax.random.key(0)), "block")


@pytest.fixture(scope="module")
def expected(shared):
    return trainer("loop", "block")(shared, tasks())


@pytest.mark.parametrize(
    ("name", "clients_at_once", "skip_frozen"),
    [
        ("map", 1, True),
        ("map", 4, False),
        ("pmap", 1, True),
        ("pmap", 2, False),
        ("sharded", 1, True),
        ("sharded", 2, False),
    ],
)
def test_every_placement_gives_what_the_loop_gives(
    shared, expected, name, clients_at_once, skip_frozen
):
    assert jax.local_device_count() == 4
    run = trainer(name, "block", clients_at_once=clients_at_once, skip_frozen=skip_frozen)
    result = run(shared, tasks())
    assert jax.tree.structure(result) == jax.tree.structure(expected)
    pairs = list(zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True))
    assert all(leaf.shape[0] == CLIENTS for leaf, _ in pairs)
    gaps = np.concatenate([np.abs(leaf - known).ravel() for leaf, known in pairs])
    assert np.max(gaps) < largest_rounding(len(gaps))
    assert np.mean(gaps > 1e-6) < 1e-3


def largest_rounding(numbers):
    """How far apart two orders of the same sums can put the worst of so many trained numbers.

    Adam divides a gradient by its own size. So rounding moves a number by the learning rate times
    the gradient's relative error, eps times how much larger the terms of its sum are than the sum:
    about n for the smallest of n gradients. In float64 the loop itself turns out to be off by
    2.3e-6 in one of the 3 726 numbers here (1.5e-6 with jaxlib 0.12), and by 3e-7 in the tenth.
    """
    return RATE * np.finfo(np.float32).eps * numbers * STEPS


def test_every_device_holds_a_part_of_a_sharded_model():
    mesh = Mesh(np.asarray(jax.local_devices()), (backends.MESH_AXIS,))
    model = vilt.make_model(tiny_vilt(hidden_size=32, intermediate_size=64))
    params = model.init(jax.random.key(0))
    placed = jax.device_put(params, backends.shardings(params, mesh))
    held = [0] * 4
    for leaf in jax.tree.leaves(placed):
        for shard in leaf.addressable_shards:
            held[shard.device.id] += shard.data.nbytes
    assert len(set(held)) == 1
    whole = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    matrices = sum(leaf.nbytes for leaf in jax.tree.leaves(params["blocks"]) if leaf.ndim > 2)
    assert whole / 4 <= held[0] <= whole - matrices * 3 / 4
    kernel = placed["blocks"]["query"]["kernel"]
    assert kernel.addressable_shards[0].data.shape == (*kernel.shape[:2], kernel.shape[2] // 4)


@pytest.mark.extended
def test_a_sharded_vilt_trains_as_on_one_device():
    config = tiny_vilt(hidden_size=32, intermediate_size=64)
    parts = units.split(random_params(vilt.make_model(config)), "adapter")
    train = local.make_local_training(
        vilt.make_model(config),
        unit="adapter",
        loss="cross_entropy",
        optimizer=optax.sgd(1e-2),
        skip_frozen=True,
    )
    batches_KS = jax.tree.map(lambda leaf: np.stack([[leaf] * 2] * 2), tiny_batch(config))
    layers_KR = np.array([[0, 1], [1, 2]], np.int32)
    task = LocalTask(Choice(layers_KR), batches_KS, np.array([2, 1], np.int32))
    one, cut = (
        placement.make_map(lambda shared, task: train(*shared, task), placement=name)(parts, task)
        for name in ("loop", "sharded")
    )
    for leaf, known in zip(jax.tree.leaves(cut), jax.tree.leaves(one), strict=True):
        np.testing.assert_allclose(leaf, known, atol=1e-5)


def test_a_skipped_step_changes_nothing(shared):
    run = trainer("map", "block")
    one_step = tasks()
    one_step = one_step.replace(steps=np.ones(CLIENTS, np.int32))
    shorter = one_step.replace(batches_S=jax.tree.map(lambda leaf: leaf[:, :1], one_step.batches_S))
    padded, exact = run(shared, one_step), run(shared, shorter)
    np.testing.assert_array_equal(padded.losses_S[:, 1:], 0)
    for leaf, known in zip(
        jax.tree.leaves((padded.rows_R, padded.head)),
        jax.tree.leaves((exact.rows_R, exact.head)),
        strict=True,
    ):
        # Two programs, one of them without a loop, which may round differently.
        np.testing.assert_allclose(leaf, known, atol=1e-7)


def test_training_lowers_the_loss_of_every_client(shared):
    train = trainer("pmap", "block")
    task = tasks()
    repeated = task.replace(
        batches_S=jax.tree.map(lambda leaf: np.repeat(leaf[:, :1], 20, axis=1), task.batches_S),
        steps=np.full(CLIENTS, 20, np.int32),
    )
    losses_KS = train(shared, repeated).losses_S
    assert np.all(losses_KS[:, -1] < losses_KS[:, 0])


def test_other_layers_and_other_steps_compile_nothing_new(shared):
    traces = []

    def counted(shared, task):
        traces.append(1)
        return trainer_of_one(*shared, task)

    trainer_of_one = local.make_local_training(
        toy_model(layers=LAYERS),
        unit="block",
        loss="cross_entropy",
        optimizer=optax.sgd(1e-2),
        skip_frozen=True,
    )
    run = placement.make_map(counted, placement="pmap")
    run(shared, tasks(seed=0))
    first = len(traces)
    run(shared, tasks(seed=1))
    run(shared, tasks(seed=2).replace(steps=np.full(CLIENTS, STEPS, np.int32)))
    assert len(traces) == first


@pytest.mark.parametrize("clients", [1, 3, 4])
def test_fewer_clients_than_devices_or_just_as_many(clients):
    double = placement.make_map(lambda factor, value: {"twice": factor * value}, placement="pmap")
    values_K = np.arange(clients, dtype=np.float32)
    np.testing.assert_array_equal(double(jnp.float32(2), values_K)["twice"], 2 * values_K)
