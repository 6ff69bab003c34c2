"""Methods after the paper on quadratics, against their publications' formulas in NumPy."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.aggregation import server_optimizer
from f3ocus_jax.aggregation.layerwise import TrainedLayers
from f3ocus_jax.aggregation.settings import AggregationConfig
from f3ocus_jax.clients import Choice, LocalTask, controls, gradient
from f3ocus_jax.clients.settings import TrainingConfig
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import client_side, experiment, server_side
from f3ocus_jax.federation.checkpoint import Checkpoints
from f3ocus_jax.federation.client_side import ClientUpdate
from f3ocus_jax.federation.settings import SelectionConfig
from f3ocus_jax.types import Batch, ClientMemory, ServerState
from tests.helpers.configs import read_config, without_times

RATE = 0.1
CURVATURES_K, OPTIMA_K = np.array([1.0, 2.0, 0.5]), np.array([4.0, -1.0, 10.0])
"""Client k's loss is curvature / 2 (w - optimum)^2, in every layer."""

LAYERS_KR = np.array([[0, 1], [0, 2], [1, 2]], np.int32)
"""Layers of each client, of a stack of two; 2 is an unused slot."""

EXAMPLES_K, STEPS_K = np.array([1.0, 3.0, 2.0]), np.array([2, 5, 3])


def make_server(**settings):
    participation = types.SimpleNamespace(most=3)
    budgets_K = np.array([2, 1, 1])
    budgets = types.SimpleNamespace(participation=participation, budgets_K=budgets_K, limits=None)
    return server_side.make_server_side(
        budgets,
        selection=SelectionConfig(algorithm="own", population=2),
        aggregation=AggregationConfig(**settings),
    )


def start_state():
    rows_L = {"w": np.float32([[1.0], [7.0]])}
    init, _ = server_optimizer.make_server_optimizer(AggregationConfig())
    return ServerState(rows_L, {}, np.int32(0), None, init(rows_L, {}))


def trained_by_sgd(state, k):
    """The update of client k's local training by the package's optimizer."""
    settings = TrainingConfig(optimizer="sgd", learning_rate=RATE)
    optimizer = client_side.make_local_optimizer(settings)
    rows_R = np.asarray(state.rows_L["w"])[np.minimum(LAYERS_KR[k], 1)]
    memory = optimizer.init(rows_R)
    for _ in range(STEPS_K[k]):
        slope_R = np.float32(CURVATURES_K[k]) * (rows_R - np.float32(OPTIMA_K[k]))
        change_R, memory = optimizer.update(slope_R, memory, rows_R)
        rows_R = rows_R + np.asarray(change_R)
    update = ClientUpdate({"w": rows_R}, {}, np.ones(5, np.float32), np.bool_(True))
    return TrainedLayers(LAYERS_KR[k], {}), EXAMPLES_K[k], STEPS_K[k], update


def fednova_round(w_L):
    """One round as in section 4 of Wang et al. (2020): a step of τ_eff η along Σ p_k d_k."""
    after_L = w_L.copy()
    for layer in range(2):
        who = [k for k in range(3) if layer in LAYERS_KR[k]]
        p_K = EXAMPLES_K[who] / EXAMPLES_K[who].sum()
        directions = []
        for k in who:
            w, gradients = w_L[layer], []
            for _ in range(STEPS_K[k]):
                gradients.append(CURVATURES_K[k] * (w - OPTIMA_K[k]))
                w -= RATE * gradients[-1]
            directions.append(np.mean(gradients))
        after_L[layer] -= p_K @ STEPS_K[who] * RATE * (p_K @ directions)
    return after_L


def test_rounds_of_fednova_are_those_of_its_publication_layer_by_layer():
    state, side = start_state(), make_server(weights="steps")
    expected_L = state.rows_L["w"][:, 0].astype(float)
    for _ in range(4):
        state, _ = side.take_up(state, [trained_by_sgd(state, k) for k in range(3)])
        expected_L = fednova_round(expected_L)
        np.testing.assert_allclose(state.rows_L["w"][:, 0], expected_L, rtol=1e-5, atol=1e-6)


@pytest.fixture
def make_client(monkeypatch):
    """Makes a client whose gradients are those of its quadratic, which its batches hold."""

    def run(frozen, rows_L, choice, trained, batch, buffer):
        curvature, optimum = batch.images_BHWC
        slopes = jax.tree.map(lambda leaf: curvature * (leaf - optimum), trained)
        return jnp.float32(1.0), slopes, buffer

    quadratic = gradient.BufferedGradient(make_buffer=lambda *parts: (), run=run)
    monkeypatch.setattr(gradient, "make_buffered_gradient", lambda *args, **kwargs: quadratic)

    def make(**training):
        settings = TrainingConfig(optimizer="sgd", learning_rate=RATE, **training)
        importance = types.SimpleNamespace(
            make=lambda name, context: None, reduction="sum", probe_batches=1
        )
        made = client_side.make_client_side.__wrapped__(
            "model", importance=importance, training=settings, loss="bce", skip_frozen=True
        )
        return jax.jit(made.train)

    return make


def scaffold_task(k, state, layers_R, **changed):
    numbers = np.float32([CURVATURES_K[k], OPTIMA_K[k]])
    batches_S = Batch(np.tile(numbers, (5, 1)), None, None, np.zeros((5, 1)), None)
    given = None if state.controls is None else controls.take(state.controls, Choice(layers_R))
    return LocalTask(Choice(layers_R), batches_S, STEPS_K[k], controls=given, **changed)


def play(train, side, state, memories, present, layers_KR):
    """One round of the clients that are present."""
    sent = []
    for k in present:
        shared = ((), state.rows_L, state.head)
        task = scaffold_task(k, state, layers_KR[k])
        update, memories[k] = train(shared, memories[k], task)
        trained = TrainedLayers(layers_KR[k], {"a": np.bool_(True)})
        sent.append((trained, EXAMPLES_K[k], STEPS_K[k], update))
    return side.take_up(state, sent)[0]


def with_head(has_controls=True):
    state = dataclasses.replace(start_state(), head={"a": np.float32([2.0])})
    init, _ = server_optimizer.make_server_optimizer(AggregationConfig())
    state = dataclasses.replace(state, optimizer=init(state.rows_L, state.head))
    if not has_controls:
        return state, [ClientMemory() for _ in range(3)]
    none = controls.make_controls(state.rows_L, state.head)
    return dataclasses.replace(state, controls=none), [ClientMemory(controls=none)] * 3


def numbers_of(tree):
    """Both layers and the head."""
    parts = (tree.rows_L, tree.head) if isinstance(tree, ServerState) else (tree.rows, tree.head)
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(parts)])


def scaffold_round(x_P, c_P, own_KP, present, layers_KR):
    """Algorithm 1 of Karimireddy et al. (2020) with option II; the head is number 2."""
    after_P, control_P, own_after_KP = x_P.copy(), c_P.copy(), own_KP.copy()
    for p in range(3):
        changes = []
        for k in (k for k in present if p == 2 or p in layers_KR[k]):
            y = x_P[p]
            for _ in range(STEPS_K[k]):
                y -= RATE * (CURVATURES_K[k] * (y - OPTIMA_K[k]) - own_KP[k, p] + c_P[p])
            own_after_KP[k, p] = own_KP[k, p] - c_P[p] + (x_P[p] - y) / (STEPS_K[k] * RATE)
            changes.append(y - x_P[p])
            control_P[p] += (own_after_KP[k, p] - own_KP[k, p]) / 3
        after_P[p] += np.mean(changes) if changes else 0.0
    return after_P, control_P, own_after_KP


def test_rounds_of_scaffold_are_those_of_its_publication_with_partial_participation(make_client):
    side, train = make_server(weights="equal"), make_client(controls=True)
    state, memories = with_head()
    expected = numbers_of(state).astype(float), np.zeros(3), np.zeros((3, 3))
    for present in ([0, 1, 2], [0, 2], [1], [0, 1, 2]):
        state = play(train, side, state, memories, present, LAYERS_KR)
        expected = scaffold_round(*expected, present, LAYERS_KR)
        own_KP = np.stack([numbers_of(memory.controls) for memory in memories])
        found = (numbers_of(state), numbers_of(state.controls), own_KP)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(numbers_of(state.controls), own_KP.mean(axis=0), atol=1e-5)


def test_the_first_round_of_scaffold_is_one_of_fedavg(make_client):
    side, ends = make_server(weights="equal"), []
    for has_controls in (True, False):
        state, memories = with_head(has_controls)
        train = make_client(controls=has_controls)
        ends.append(play(train, side, state, memories, [0, 1, 2], LAYERS_KR))
    np.testing.assert_array_equal(*map(numbers_of, ends))
    assert ends[1].controls is None


def test_scaffold_finds_the_minimum_of_the_mean_loss_where_fedavg_does_not(make_client):
    everywhere, ends = np.array([[0, 1]] * 3, np.int32), []
    for has_controls in (True, False):
        side, train = make_server(weights="equal"), make_client(controls=has_controls)
        state, memories = with_head(has_controls)
        for _ in range(40):
            state = play(train, side, state, memories, [0, 1, 2], everywhere)
        ends.append(numbers_of(state))
    minimum = CURVATURES_K @ OPTIMA_K / CURVATURES_K.sum()
    np.testing.assert_allclose(ends[0], minimum, atol=1e-3)
    assert np.abs(ends[1] - minimum).min() > 0.1


def test_a_client_whose_training_is_not_finite_keeps_its_control_and_counts_nowhere(make_client):
    side, train = make_server(weights="equal"), make_client(controls=True)
    state, memories = with_head()
    state = play(train, side, state, memories, [0, 1, 2], LAYERS_KR)
    before = numbers_of(memories[0].controls)
    task = scaffold_task(0, state, LAYERS_KR[0])
    task.batches_S.images_BHWC[0] = np.nan
    update, memory = train(((), state.rows_L, state.head), memories[0], task)
    np.testing.assert_array_equal(numbers_of(memory.controls), before)
    trained = TrainedLayers(LAYERS_KR[0], {"a": np.bool_(True)})
    after, _ = side.take_up(state, [(trained, 1.0, 2, update)])
    np.testing.assert_array_equal(numbers_of(after.controls), numbers_of(state.controls))


def test_a_head_that_is_not_trained_keeps_its_control(make_client):
    state, memories = with_head()
    train = make_client(controls=True, head="frozen")
    task = scaffold_task(0, state, LAYERS_KR[0], trains_head=False)
    update, memory = train(((), state.rows_L, state.head), memories[0], task)
    assert np.asarray(memory.controls.head["a"]).tolist() == [0.0]
    assert np.asarray(update.head["a"]).tolist() == [2.0]
    assert np.all(np.asarray(memory.controls.rows["w"]) != 0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"optimizer": "adamw"}, r"optimizer = 'adamw', must be 'sgd' with training.controls"),
        ({"proximal": 0.1}, r"proximal = 0.1, must be 0 with training.controls"),
        ({"head": "personal"}, r"head = 'personal', must be that of all clients"),
        ({"dual_adapters": True}, r"dual_adapters = True, must be False with training.controls"),
    ],
)
def test_scaffold_refuses_what_its_controls_do_not_cover(changed, message):
    with pytest.raises(ConfigError, match=message):
        TrainingConfig(**{"optimizer": "sgd", "controls": True, **changed})


@pytest.mark.parametrize("unit", ["example", "client"])
def test_controls_are_not_covered_by_the_noise_of_differential_privacy(unit):
    private = {"privacy__unit": unit, "aggregation__weights": "equal"}
    with pytest.raises(ConfigError, match=r"training.controls = True, must be False with .*noise"):
        read_config("tiny_scaffold", **private)


@pytest.mark.slow
def test_a_run_of_scaffold_resumes_bit_for_bit_and_its_control_is_the_mean(data_dir, tmp_path):
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    given = {"federated__participation": 0.6, "federated__placement": "map"}
    whole = read_config("tiny_scaffold", data_dir, **given)
    once = read_config("tiny_scaffold", data_dir, **given, federated__rounds=1)
    expected = experiment.run(whole, tmp_path / "whole")
    experiment.run(once, tmp_path / "parts")
    assert without_times(experiment.run(whole, tmp_path / "parts")) == without_times(expected)
    parts = experiment.assemble(whole)
    with Checkpoints(
        tmp_path / "parts/checkpoints", whole.checkpoint, parts.settings
    ) as checkpoints:
        state, memory, _ = checkpoints.restore(parts.start, parts.memory)
    pairs = zip(*(jax.tree.leaves(each.controls) for each in (state, memory)), strict=True)
    for mean, own_K in pairs:
        np.testing.assert_allclose(mean, np.mean(own_K, axis=0), atol=1e-5)
    assert any(np.any(leaf) for leaf in jax.tree.leaves(state.controls))
