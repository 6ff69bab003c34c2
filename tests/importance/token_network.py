"""A small network with one output per token and answer."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from f3ocus_jax import importance

LAYERS, EXAMPLES, TOKENS, WIDTH, ANSWERS = 3, 4, 5, 6, 2


def _draw(seed: int, *shape: int) -> jax.Array:
    return 0.5 * jax.random.normal(jax.random.key(seed), shape)


ROWS_L = {"in": _draw(0, LAYERS, WIDTH, 3), "out": _draw(1, LAYERS, 3, WIDTH)}
HIDDEN = 2 * _draw(2, EXAMPLES, TOKENS, WIDTH)
READOUT = _draw(3, WIDTH, ANSWERS)


def block(row: Any, frozen_row: Any, hidden: jax.Array, gate: jax.Array) -> jax.Array:
    """Applies one layer; `gate` is its context, one number per example."""
    inner = jnp.tanh(hidden @ row["in"]) @ row["out"]
    return hidden + gate[:, None, None] * inner + 0.1 * jnp.mean(hidden, axis=1, keepdims=True)


def token_outputs(hidden: jax.Array) -> jax.Array:
    """Returns one output per token and answer, [N, T, C]."""
    return hidden @ READOUT


def network(
    rows_L: Any = None,
    readout: Callable[[jax.Array], jax.Array] = token_outputs,
    gate: jax.Array | None = None,
) -> importance.Network:
    """Makes the network with its batch, with other rows, readout or gates if given."""
    gate = jnp.ones(EXAMPLES) if gate is None else gate
    rows_L = ROWS_L if rows_L is None else rows_L
    return importance.Network(block, readout, rows_L, {}, HIDDEN, gate)
