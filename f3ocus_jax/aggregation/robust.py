"""Byzantine-robust aggregation: the layers' trainers combined by a rule; median and trimmed mean.

A rule combines the changes of one layer (or of one entry of the head) among the clients that
trained it, so that clients with different layers are never compared. Every client counts once,
because an untrusted client must not gain weight by the number of examples that it claims. The rules
need all clients' changes of a layer together, so their memory grows with the number of clients: K
times the chosen rows and the head, in float32.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from f3ocus_jax.aggregation import few_trainers
from f3ocus_jax.aggregation.layerwise import (
    AggregatedUpdate,
    Change,
    TrainedLayers,
    align,
    map_heads,
    of_layer,
)
from f3ocus_jax.config import Section, setting
from f3ocus_jax.types import Array, Params

Rule = Callable[[Params, jax.Array], Params]
"""(pytree with leading axis K, counted_K) -> the counted clients combined; 0 if there are none.

Values of clients that do not count may be anything, NaN included.
"""

ROUNDING = 1e-4
"""Added before a fraction of clients is rounded down, so that 0.29 of 100 are 29 in float32."""


def median(changes_K: Params, counted_K: jax.Array) -> Params:
    """Returns the median over the counted clients, coordinate by coordinate (Yin et al., 2018)."""

    def of_leaf(values_K: jax.Array) -> jax.Array:
        sorted_K, count = _sorted(values_K, counted_K)
        lower_K, upper_K = sorted_K[jnp.maximum(count - 1, 0) // 2], sorted_K[count // 2]
        return jnp.where(count > 0, 0.5 * (lower_K + upper_K), 0.0)

    return jax.tree.map(of_leaf, changes_K)


def trimmed_mean(changes_K: Params, counted_K: jax.Array, *, share: float) -> Params:
    """Returns the mean without the extreme values of each coordinate (Yin et al., 2018).

    Args:
      changes_K: Pytree with leading axis K.
      counted_K: bool, True for clients that count.
      share: Fraction of the counted clients left out at each end, see `count_trimmed`.

    Returns:
      The same pytree without the leading axis.
    """

    def of_leaf(values_K: jax.Array) -> jax.Array:
        sorted_K, count = _sorted(values_K, counted_K)
        trimmed = count_trimmed(count, share)
        rank_K = jnp.arange(values_K.shape[0])
        inside_K = align((rank_K >= trimmed) & (rank_K < count - trimmed), values_K)
        total = jnp.sum(jnp.where(inside_K, sorted_K, 0.0), axis=0)
        return total / jnp.maximum(count - 2 * trimmed, 1)

    return jax.tree.map(of_leaf, changes_K)


def count_trimmed(count: Array, share: float) -> jax.Array:
    """Returns the number of clients that a share leaves out at each end.

    Args:
      count: int32 [], number of clients that trained the layer.
      share: Fraction, below 0.5; 0 for none.

    Returns:
      int32 []: the share rounded down, but at least one client and at most so many that one is
      left. Two clients, of whom nobody can tell which one is wrong, are both kept; their mean is
      also their median, as the middle one is of three.
    """
    wanted = jnp.floor(share * count + ROUNDING).astype(jnp.int32)
    return jnp.minimum(jnp.maximum(wanted, int(share > 0)), jnp.maximum(count - 1, 0) // 2)


@dataclasses.dataclass(frozen=True)
class TrimmedMeanOptions(Section):
    """Options of the trimmed mean."""

    share: float = setting(
        0.25,
        "Fraction of a layer's clients left out at each end, rounded down, at least one of three "
        "or more; 0 for none.",
        at_least=0,
        below=0.5,
    )


def make_trimmed_mean(options: TrimmedMeanOptions) -> Rule:
    """Makes the trimmed mean with a given fraction."""
    return functools.partial(trimmed_mean, share=options.share)


@functools.partial(jax.jit, static_argnames=("rule", "num_layers", "outlier_ratio"))
def combine(
    rule: Rule,
    changes_K: Change,
    trained_K: TrainedLayers,
    counted_K: Array,
    *,
    num_layers: int,
    outlier_ratio: float = math.inf,
) -> AggregatedUpdate:
    """Combines the clients' changes layer by layer, each over the clients that trained it.

    Args:
      rule: One of the functions that `RULES` make.
      changes_K: Changes with leading axis K.
      trained_K: Parameters that each client trained, with leading axis K.
      counted_K: bool, True for clients that count; the others' values are not used.
      num_layers: L.
      outlier_ratio: Largest norm of one change in a layer with fewer than three trainers, see
        `few_trainers`.

    Returns:
      The change of the model.
    """
    limit = functools.partial(few_trainers.limit_rows, ratio=outlier_ratio)
    changes_K = dataclasses.replace(
        changes_K, rows=limit(changes_K.rows, trained_K.layers_R, counted_K, num_layers)
    )

    def combine_layer(layer: jax.Array) -> tuple[Change, jax.Array]:
        rows_K, by_K = of_layer(changes_K.rows, trained_K.layers_R, counted_K, layer)
        return rule(rows_K, by_K), jnp.any(by_K)

    def of_head(head_K: Params, own_K: jax.Array) -> Params:
        counts_K = own_K & counted_K
        return rule(few_trainers.limit_head(head_K, counts_K, ratio=outlier_ratio), counts_K)

    rows_L, trained_L = jax.lax.map(combine_layer, jnp.arange(num_layers))
    heads = map_heads(of_head, changes_K.heads, trained_K.heads)
    trained = map_heads(lambda own_K: jnp.any(own_K & counted_K), trained_K.heads)
    return AggregatedUpdate(Change(rows_L, heads), trained_L, trained)


def _sorted(values_K: jax.Array, counted_K: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns (values ascending, with those that do not count last; number of those that count)."""
    kept_K = jnp.where(align(counted_K, values_K), values_K, jnp.inf)
    return jnp.sort(kept_K, axis=0), jnp.sum(counted_K)
