"""Methods after the paper on quadratics, against their publications' formulas in NumPy."""

import types

import numpy as np

from f3ocus_jax.aggregation import server_optimizer
from f3ocus_jax.aggregation.layerwise import TrainedLayers
from f3ocus_jax.aggregation.settings import AggregationConfig
from f3ocus_jax.clients.settings import TrainingConfig
from f3ocus_jax.federation import client_side, server_side
from f3ocus_jax.federation.client_side import ClientUpdate
from f3ocus_jax.federation.settings import SelectionConfig
from f3ocus_jax.types import ServerState

RATE = 0.1
CURVATURES_K, OPTIMA_K = np.array([1.0, 2.0, 0.5]), np.array([4.0, -1.0, 10.0])
"""Client k's loss is curvature / 2 (w - optimum)^2, in every layer."""

LAYERS_KR = np.array([[0, 1], [0, 2], [1, 2]], np.int32)
"""Layers of each client, of a stack of two; 2 is an unused slot."""

EXAMPLES_K, STEPS_K = np.array([1.0, 3.0, 2.0]), np.array([2, 5, 3])


def make_server(**settings):
    participation = types.SimpleNamespace(most=3)
    budgets = types.SimpleNamespace(participation=participation, budgets_K=None, limits=None)
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
