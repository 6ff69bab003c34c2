"""Byzantine-robust aggregation: coordinate-wise median and trimmed mean (Yin et al., 2018).

Both rules count every client once, because an untrusted client must not gain weight by the number
of examples that it claims. Both need all clients' changes of a layer together, so their memory
grows with the number of clients: K times the chosen rows and the head, in float32.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from f3ocus_jax.aggregation.layerwise import (
    AggregatedUpdate,
    Change,
    TrainedLayers,
    align,
    map_heads,
)
from f3ocus_jax.config import Component, Section, setting
from f3ocus_jax.types import Array, Params

Centre = Callable[[jax.Array, jax.Array], jax.Array]
"""(values with leading axis K, counted_K) -> centre of the counted values; 0 if there are none."""

ROUNDING = 1e-4
"""Added before a fraction of clients is rounded down, so that 0.29 of 100 are 29 in float32."""


def median(values_K: jax.Array, counted_K: jax.Array) -> jax.Array:
    """Returns the median over the counted clients, coordinate by coordinate."""
    sorted_K, count = _sorted(values_K, counted_K)
    middle = 0.5 * (sorted_K[jnp.maximum(count - 1, 0) // 2] + sorted_K[count // 2])
    return jnp.where(count > 0, middle, 0.0)


def trimmed_mean(values_K: jax.Array, counted_K: jax.Array, *, share: float) -> jax.Array:
    """Returns the mean without the largest and the smallest values of each coordinate.

    Args:
      values_K: Values with leading axis K.
      counted_K: bool, True for clients that count.
      share: Fraction of the counted clients left out at each end, rounded down; below 0.5.
    """
    sorted_K, count = _sorted(values_K, counted_K)
    trimmed = jnp.floor(share * count + ROUNDING).astype(jnp.int32)
    rank_K = jnp.arange(values_K.shape[0])
    inside_K = align((rank_K >= trimmed) & (rank_K < count - trimmed), values_K)
    total = jnp.sum(jnp.where(inside_K, sorted_K, 0.0), axis=0)
    return total / jnp.maximum(count - 2 * trimmed, 1)


@dataclasses.dataclass(frozen=True)
class TrimmedMeanOptions(Section):
    """Options of the trimmed mean."""

    share: float = setting(0.1, "Fraction of clients left out at each end.", at_least=0, below=0.5)


def make_trimmed_mean(options: TrimmedMeanOptions) -> Centre:
    """Makes the trimmed mean with a given fraction."""
    return functools.partial(trimmed_mean, share=options.share)


@functools.partial(jax.jit, static_argnames=("centre", "num_layers"))
def combine(
    centre: Centre,
    changes_K: Change,
    trained_K: TrainedLayers,
    counted_K: Array,
    *,
    num_layers: int,
) -> AggregatedUpdate:
    """Combines the clients' changes layer by layer, each over the clients that trained it.

    Args:
      centre: One of the functions that `CENTRES` make.
      changes_K: Changes with leading axis K.
      trained_K: Parameters that each client trained, with leading axis K.
      counted_K: bool, True for clients that count; the others' values are not used.
      num_layers: L.

    Returns:
      The change of the model.
    """

    def of_layer(layer: jax.Array) -> tuple[Change, jax.Array]:
        here_KR = trained_K.layers_R == layer
        by_K = jnp.any(here_KR, axis=1) & counted_K
        slot_K = jnp.argmax(here_KR, axis=1)

        def of_leaf(leaf_KR: jax.Array) -> jax.Array:
            return centre(leaf_KR[jnp.arange(len(slot_K)), slot_K], by_K)

        return jax.tree.map(of_leaf, changes_K.rows), jnp.any(by_K)

    def of_head(head_K: Params, own_K: jax.Array) -> Params:
        return jax.tree.map(lambda leaf_K: centre(leaf_K, own_K & counted_K), head_K)

    rows_L, trained_L = jax.lax.map(of_layer, jnp.arange(num_layers))
    heads = map_heads(of_head, changes_K.heads, trained_K.heads)
    trained = map_heads(lambda own_K: jnp.any(own_K & counted_K), trained_K.heads)
    return AggregatedUpdate(Change(rows_L, heads), trained_L, trained)


def _sorted(values_K: jax.Array, counted_K: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns (values ascending, with those that do not count last; number of those that count)."""
    kept_K = jnp.where(align(counted_K, values_K), values_K, jnp.inf)
    return jnp.sort(kept_K, axis=0), jnp.sum(counted_K)


CENTRES = {
    "median": Component(None, lambda: median),
    "trimmed_mean": Component(TrimmedMeanOptions, make_trimmed_mean),
}
"""Robust rules by name: make([options]) -> Centre."""
