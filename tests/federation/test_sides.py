"""One client and one server at a time, without the simulator, give the simulator's round."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax import selection
from f3ocus_jax.aggregation.layerwise import TrainedLayers
from f3ocus_jax.aggregation.server_optimizer import make_server_optimizer
from f3ocus_jax.clients import Choice, LocalTask, batches
from f3ocus_jax.federation import assembly
from f3ocus_jax.federation.budgets import Budgets
from f3ocus_jax.federation.client_side import make_client_side
from f3ocus_jax.federation.participation import Participation
from f3ocus_jax.federation.round import run_round
from f3ocus_jax.federation.server_side import make_server_side
from f3ocus_jax.federation.stages.train import layers_of
from f3ocus_jax.importance import Importance
from f3ocus_jax.models import units
from f3ocus_jax.models.blocks import adapters
from f3ocus_jax.report.records import make_round_record
from f3ocus_jax.types import ClientMemory, ServerState, TrainingOutcome
from tests.helpers import training_stage
from tests.helpers.configs import without_times
from tests.helpers.marking import marked
from tests.helpers.oracles import toy_model

CLIENTS, LAYERS, BUDGET, NUMBER = training_stage.CLIENTS, training_stage.LAYERS, 2, 1
COMMON = {
    "importance__probe_examples": 3,
    "importance__probe_batches": 1,
    "selection__population": 8,
    "selection__generations": 4,
    "evaluation__batch_size": 4,
}
OVER_DEVICES = "mean over devices"
CASES = {
    "mean": {"federated__placement": "map"},
    OVER_DEVICES: {"federated__placement": "pmap"},
    "median": {"aggregation__rule": "median"},
    "weights and outliers": {
        "federated__placement": "map",
        "aggregation__outliers": "clip",
        "aggregation__outlier_ratio": 1.0,
        "aggregation__max_weight_share": 0.3,
    },
    "memories": {
        "federated__placement": "map",
        "importance__lntk__warm_start": True,
        "importance__lntk__method": "lanczos",
        "training__dual_adapters": True,
        "training__unit": "adapter",
    },
}
"""Median over devices, too: it adds nothing up. Memories are eigenvectors and dual adapters."""


def model_with_adapters():
    """The toy model with a block that takes any number of adapters."""
    plain = toy_model(layers=LAYERS)

    def init(key):
        stack = adapters.init_stack(key, layers=LAYERS, width=8, bottleneck=2)
        return {**plain.init(key), "adapters": jax.tree.map(lambda leaf: leaf + 0.1, stack)}

    def block(block, adapter, hidden_BTD, mask_BT1):
        mixed_B1D = jnp.mean(mask_BT1 * hidden_BTD, axis=1, keepdims=True)
        inner_BTD = adapters.apply(adapter, jnp.tanh(hidden_BTD @ block["in"]) @ block["out"])
        return hidden_BTD + 0.5 * (inner_BTD + jnp.tanh(mixed_B1D))

    return dataclasses.replace(plain, init=init, block=block)


@functools.cache
def setting(case):
    """(config, model, frozen parameters, limits, first state, first memories)."""
    config = training_stage.config(**COMMON, **CASES[case])
    model = model_with_adapters()
    frozen, rows_L, head = units.split(model.init(jax.random.key(0)), config.training.unit)
    names = tuple(client.name for client in training_stage.clients())
    participation = Participation(names, config.federated, config.seed)
    budgets_K = np.full(CLIENTS, BUDGET, np.int32)
    budgets = Budgets(names, budgets_K, selection.Requirements(), participation)
    init, _ = make_server_optimizer(config.aggregation)
    front_mask_PKL = np.zeros((config.selection.population, CLIENTS, LAYERS), bool)
    state = ServerState(rows_L, head, jnp.int32(NUMBER - 1), front_mask_PKL, init(rows_L, head))
    copies = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf)[None], CLIENTS, axis=0), rows_L)
    warm, dual = config.importance.lntk.warm_start, config.training.dual_adapters
    memory = ClientMemory(
        vectors_LNC=np.zeros((CLIENTS, LAYERS, 3, 3), np.float32) if warm else None,
        personal_L=copies if dual else None,
    )
    return config, model, frozen, budgets, state, memory


def record_of(config, budgets, importance, selected, training, metrics):
    return make_round_record(
        NUMBER,
        training_stage.clients(),
        budgets.budgets_K,
        importance=importance,
        selected=selected,
        training=training,
        metrics=metrics,
        kept_K=np.zeros(CLIENTS, bool),
        left_out=training.left_out,
        score=config.importance.score,
        algorithm=config.selection.algorithm,
        seconds={},
    )


def stack(trees):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *jax.device_get(trees))


def one_by_one(case, stages, key):
    """The round as a server and its clients would run it, each client by itself."""
    config, model, frozen, budgets, state, memory = setting(case)
    client = make_client_side(
        model,
        importance=config.importance,
        training=config.training,
        loss=config.model.loss,
        skip_frozen=config.federated.clients_at_once == 1,
    )
    server = make_server_side(budgets, selection=config.selection, aggregation=config.aggregation)
    score, train = jax.jit(client.score), jax.jit(client.train)
    data, shared = training_stage.clients(), (frozen, state.rows_L, state.head)
    memories = [jax.tree.map(lambda leaf, k=k: leaf[k], memory) for k in range(CLIENTS)]
    score_key, select_key = jax.random.split(key)

    sent = []
    for k, own_key in enumerate(jax.random.split(score_key, CLIENTS)):
        drawn_in = 0 if config.importance.lntk.warm_start else NUMBER
        probe = batches.draw_probe_batch(data[k], seed=config.seed, number=drawn_in, examples=3)
        importance, memories[k] = score(shared, memories[k], probe, own_key)
        sent.append(importance)
    importance: Importance = stack(sent)

    everyone_K = np.ones(CLIENTS, bool)
    chosen = server.choose(importance.scores_L, everyone_K, state.front_mask_PKL, select_key)

    updates, steps_K = [], []
    most = max(batches.count_local_steps(each, config.training) for each in data)
    for k, layers_R in enumerate(layers_of(chosen.mask_KL, BUDGET)):
        steps_K.append(batches.count_local_steps(data[k], config.training))
        drawn = batches.draw_training_batches(
            data[k], seed=config.seed, number=NUMBER, steps=most, batch_size=4
        )
        task = LocalTask(Choice(layers_R), drawn, np.int32(steps_K[-1]))
        update, memories[k] = train(shared, memories[k], task)
        trained = TrainedLayers(layers_R, {"answers": np.bool_(True)})
        updates.append((trained, len(data[k].train), steps_K[-1], update))

    state, norms = server.take_up(state, updates)
    assert norms.accepted_K.all()
    state = dataclasses.replace(state, front_mask_PKL=chosen.front_mask_PKL)
    losses_KS = stack([update.losses_S for *_, update in updates])
    training = TrainingOutcome([None] * CLIENTS, losses_KS, np.array(steps_K), ~everyone_K, norms)
    record = record_of(config, budgets, importance, chosen, training, stages.evaluate(state))
    return state, stack(memories), record


def both_ways(case):
    """(state, memories, record) of the simulator, and of clients one by one."""
    config, model, frozen, budgets, state, memory = setting(case)
    stages = assembly.make_stages(config, model, frozen, training_stage.clients(), budgets)
    key = jax.random.key(7)
    simulated, memories, outcome = run_round(stages, state, memory, NUMBER, key)
    record = record_of(
        config,
        budgets,
        outcome.scored.importance,
        outcome.chosen,
        outcome.training,
        outcome.metrics,
    )
    return (simulated, memories, record), one_by_one(case, stages, key)


@pytest.mark.parametrize(
    "case",
    marked(
        [case for case in CASES if case != OVER_DEVICES],
        extended=("median", "memories", "weights and outliers"),
    ),
)
def test_clients_one_by_one_give_the_simulator_s_records_and_parameters_bit_for_bit(case):
    (*simulated, expected), (*found, record) = both_ways(case)
    assert without_times([record]) == without_times([expected])
    for leaf, other in zip(*map(jax.tree.leaves, (found, simulated)), strict=True):
        np.testing.assert_array_equal(leaf, other)
    before, after = setting(case)[4], found[0]
    pairs = zip(*(jax.tree.leaves(state.rows_L) for state in (before, after)), strict=True)
    assert all((now != then).any() for now, then in pairs)
    assert all(client.train_loss > 0 for client in record.clients)


@pytest.mark.extended
def test_a_mean_over_devices_is_theirs_up_to_the_order_of_the_sum():
    """Every device adds up its own clients, which is another order than one after the other."""
    (*simulated, expected), (*found, record) = both_ways(OVER_DEVICES)
    for mine, theirs in zip(record.clients, expected.clients, strict=True):
        for name in ("scores", "values", "residuals", "layers", "train_loss", "ranks"):
            assert getattr(mine, name) == getattr(theirs, name), name
    for leaf, other in zip(*map(jax.tree.leaves, (found, simulated)), strict=True):
        np.testing.assert_allclose(leaf, other, atol=1e-6)
