"""The server's optimizers, against their formulas written in NumPy, layer by layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.aggregation import server_optimizer
from f3ocus_jax.aggregation.layerwise import AggregatedUpdate, Change
from f3ocus_jax.aggregation.optimizers import OPTIMIZERS
from f3ocus_jax.aggregation.settings import AggregationConfig
from f3ocus_jax.config import parsing
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import presets

LAYERS, ROUNDS = 3, 4
RATE, FIRST, SECOND, EPSILON = 0.3, 0.8, 0.95, 1e-2
TRAINED = [[0, 2], [2], [], [0, 1, 2]]
"""Layers trained in each round; the head is trained unless there are none."""


def settings(name):
    rate = {"learning_rate": RATE}
    adaptive = rate | {"momentum": FIRST, "second_momentum": SECOND, "epsilon": EPSILON}
    momentum = rate | {"momentum": FIRST}
    options = {"fedavg": rate, "fedavgm": momentum, "fedadam": adaptive, "fedyogi": adaptive}
    raw = presets.get_base().aggregation
    raw.update({"optimizer": name, **options})
    return parsing.parse(AggregationConfig, raw)


class Oracle:
    """One layer's optimizer: Reddi et al. (2021), algorithm 2, with Adam's bias correction."""

    def __init__(self, name, value):
        self.name, self.value, self.steps = name, value.astype(np.float64), 0
        self.first = np.zeros_like(self.value)
        # optax starts both of Yogi's moments at 1e-6, after Zaheer et al. (2018)
        self.second = np.zeros_like(self.value)
        if name == "fedyogi":
            self.first += 1e-6
            self.second += 1e-6

    def step(self, change):
        self.steps += 1
        if self.name == "fedavg":
            self.value += RATE * change
        elif self.name == "fedavgm":
            self.first = FIRST * self.first + change
            self.value += RATE * self.first
        else:
            self.adaptive(-change)

    def adaptive(self, slope):
        self.first = FIRST * self.first + (1 - FIRST) * slope
        if self.name == "fedadam":
            self.second = SECOND * self.second + (1 - SECOND) * slope**2
        else:
            self.second -= (1 - SECOND) * np.sign(self.second - slope**2) * slope**2
        first = self.first / (1 - FIRST**self.steps)
        second = self.second / (1 - SECOND**self.steps)
        self.value -= RATE * first / (np.sqrt(second) + EPSILON)


def rounds(seed=0):
    draw = np.random.default_rng(seed)
    for layers in TRAINED:
        trained_L = np.isin(np.arange(LAYERS), layers)
        rows = draw.normal(size=(LAYERS, 2, 4)).astype(np.float32)
        rows[~trained_L] = 0.0
        head = draw.normal(size=5).astype(np.float32) * bool(layers)
        yield AggregatedUpdate(
            Change({"w": rows}, {"a": {"b": head}}), trained_L, {"a": np.bool_(len(layers) > 0)}
        )


def start(seed=9):
    draw = np.random.default_rng(seed)
    rows_L = {"w": jnp.asarray(draw.normal(size=(LAYERS, 2, 4)), jnp.float32)}
    return rows_L, {"a": {"b": jnp.asarray(draw.normal(size=5), jnp.float32)}}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_follows_its_formula_layer_by_layer(name):
    init, apply = server_optimizer.make_server_optimizer(settings(name))
    rows_L, head = start()
    layers = [Oracle(name, np.asarray(rows_L["w"][layer])) for layer in range(LAYERS)]
    answers = Oracle(name, np.asarray(head["a"]["b"]))
    state = init(rows_L, head)
    for combined in rounds():
        rows_L, head, state = jax.jit(apply)(rows_L, head, state, combined)
        for layer in np.flatnonzero(combined.trained_L):
            layers[layer].step(combined.change.rows["w"][layer].astype(np.float64))
        if combined.trained["a"]:
            answers.step(combined.change.heads["a"]["b"].astype(np.float64))
        for layer, oracle in enumerate(layers):
            np.testing.assert_allclose(rows_L["w"][layer], oracle.value, rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(head["a"]["b"], answers.value, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_layer_that_nobody_trained_and_its_optimizer_stay_bit_for_bit(name):
    init, apply = server_optimizer.make_server_optimizer(settings(name))
    rows_L, head = start()
    state = init(rows_L, head)
    for combined in rounds():
        before = (rows_L, state["rows_L"])
        rows_L, head, state = apply(rows_L, head, state, combined)
        pairs = zip(
            jax.tree.leaves(before), jax.tree.leaves((rows_L, state["rows_L"])), strict=True
        )
        for then, now in pairs:
            for layer in np.flatnonzero(~combined.trained_L):
                np.testing.assert_array_equal(now[layer], then[layer])


def test_averaging_at_rate_one_adds_the_clients_mean_change():
    init, apply = server_optimizer.make_server_optimizer(AggregationConfig())
    rows_L, head = start()
    combined = next(rounds())
    after, _, _ = apply(rows_L, head, init(rows_L, head), combined)
    np.testing.assert_array_equal(after["w"], rows_L["w"] + combined.change.rows["w"])


@pytest.mark.parametrize("name", ["fedadam", "fedyogi"])
def test_the_default_step_of_an_adaptive_optimizer_is_short_whatever_the_change(name):
    """Both divide by the size of the change, so that a rate of 1 moves every parameter by 1."""
    init, apply = server_optimizer.make_server_optimizer(AggregationConfig(optimizer=name))
    rows_L, head = start()
    combined = jax.tree.map(lambda leaf: 100.0 * leaf, next(rounds()).change)
    update = AggregatedUpdate(combined, np.ones(LAYERS, bool), {"a": np.bool_(True)})
    after, _, _ = apply(rows_L, head, init(rows_L, head), update)
    assert 0 < np.abs(after["w"] - rows_L["w"]).max() <= 0.0101


def test_an_unknown_optimizer_lists_the_known_ones():
    with pytest.raises(ConfigError, match="choose fedadam, fedavg, fedavgm, fedyogi"):
        server_optimizer.make_server_optimizer(settings("fedsgd"))
