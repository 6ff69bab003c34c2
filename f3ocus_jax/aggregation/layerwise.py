"""Layerwise aggregation: one change of the model from the clients' changes (F³OCUS, section 3.1).

The weighted mean is a running sum, so that the server holds one sum for any number of clients.
Median and trimmed mean need every client's change of a layer at the same time, see `robust`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.types import Array, Params, Rows

LARGE = 1e12
"""Largest value whose square, summed 1e9 times, is still within float32 with room to spare."""


@struct.dataclass
class Change:
    """Change of the model's parameters by one client or by all of them.

    Attributes:
      rows: Change of the layers, float32; leading axis R for one client, L for all.
      heads: Change of every entry of the head, float32, by its name.
    """

    rows: Rows
    heads: Params


@struct.dataclass
class TrainedLayers:
    """Parameters that one client trained.

    Attributes:
      layers_R: int32, layer of each returned row; L for an unused slot.
      heads: bool [] by entry of the head; a client trains the entry of its own task.
    """

    layers_R: Array
    heads: Mapping[str, Array]


@struct.dataclass
class LayerWeights:
    """Weight of one client in the mean, by layer.

    Attributes:
      rows_R: float32, weight in the layer of each returned row.
      heads: float32 [] by entry of the head.
      factors_R: float32, factor of the change of each returned row, which the sum of the weights
        leaves out; None for 1.
      head_factors: float32 [] by entry of the head; None likewise.
    """

    rows_R: Array
    heads: Mapping[str, Array]
    factors_R: Array | None = None
    head_factors: Mapping[str, Array] | None = None

    def of_change(self) -> tuple[Array, Mapping[str, Array]]:
        """Returns what the change is multiplied with: (of each returned row, by entry)."""
        if self.factors_R is None or self.head_factors is None:
            return self.rows_R, self.heads
        heads = map_heads(lambda weight, factor: weight * factor, self.heads, self.head_factors)
        return self.rows_R * self.factors_R, heads


@struct.dataclass
class WeightedSum:
    """Weighted sum of changes over clients.

    Attributes:
      change: Weighted sums, with leading axis L for the layers.
      weight_L: Sum of the weights of the clients that trained each layer.
      weights: Sum of the weights of the clients that trained each entry of the head.
    """

    change: Change
    weight_L: Array
    weights: Mapping[str, Array]


@struct.dataclass
class AggregatedUpdate:
    """Change of the model in one round.

    Attributes:
      change: Change of the layers (leading axis L) and of the heads.
      trained_L: bool, True if any client trained the layer; its change is 0 otherwise.
      trained: bool [] by entry of the head, True if any client trained it.
    """

    change: Change
    trained_L: Array
    trained: Mapping[str, Array]


def difference(
    rows_L: Rows, heads: Params, trained: TrainedLayers, rows_R: Rows, heads_after: Params
) -> Change:
    """Returns a client's change of the parameters, in float32.

    Args:
      rows_L: Layers at the start of the round.
      heads: Entries of the head at the start of the round, by name.
      trained: Parameters that the client trained.
      rows_R: Returned rows.
      heads_after: Returned entries of the head, by name.

    Returns:
      Change; 0 in unused slots and in heads that the client did not train.
    """
    layers_R = trained.layers_R

    def of_rows(before_L: jax.Array, after_R: jax.Array) -> jax.Array:
        before_R = before_L.at[layers_R].get(mode="clip").astype(jnp.float32)
        used_R = align(layers_R < before_L.shape[0], after_R)
        return jnp.where(used_R, after_R.astype(jnp.float32) - before_R, 0.0)

    def of_head(is_trained: Array, before: Params, after: Params) -> Params:
        def of_leaf(before: jax.Array, after: jax.Array) -> jax.Array:
            change = after.astype(jnp.float32) - before.astype(jnp.float32)
            return jnp.where(is_trained, change, 0.0)

        return jax.tree.map(of_leaf, before, after)

    rows = jax.tree.map(of_rows, rows_L, rows_R)
    return Change(rows, map_heads(of_head, trained.heads, heads, heads_after))


def map_heads(function: Callable[..., Any], *heads: Mapping[str, Any]) -> dict[str, Any]:
    """Maps a function over the entries of one or more heads, like `jax.tree.map` for one level."""
    return {name: function(*(each[name] for each in heads)) for name in heads[0]}


def is_finite(tree: Any) -> jax.Array:
    """Returns True if a pytree holds no NaN and no infinity: bool []."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def global_norm(change: Change) -> jax.Array:
    """Returns the Euclidean norm of a change, layers and head together: float32 [].

    Squares of large values are beyond float32, so they are taken of the values times a power of
    two, which is exact; a norm beyond float32 is its largest number.
    """
    leaves = jax.tree.leaves(change)
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in leaves]))
    factor = jnp.where(largest > LARGE, 2.0**-80, 1.0)
    squares = jnp.stack([jnp.sum(jnp.square(leaf * factor)) for leaf in leaves])
    norm = jnp.sqrt(jnp.sum(squares)) / factor
    return jnp.minimum(norm, jnp.finfo(jnp.float32).max)


def clip_to_norm(change: Change, limit: float) -> Change:
    """Scales a change down to a norm of at most `limit`; a limit of 0 leaves it unchanged."""
    if not limit:
        return change
    # Not 0 / 0 for a change of norm 0.
    scale = jnp.minimum(1.0, limit / jnp.maximum(global_norm(change), 1e-30))
    return jax.tree.map(lambda leaf: scale * leaf, change)


def make_empty_sum(rows_L: Rows, heads: Params) -> WeightedSum:
    """Returns the sum over no client."""

    def zeros(leaf: jax.Array) -> jax.Array:
        return jnp.zeros(leaf.shape, jnp.float32)

    num_layers = jax.tree.leaves(rows_L)[0].shape[0]
    change = Change(jax.tree.map(zeros, rows_L), jax.tree.map(zeros, heads))
    return WeightedSum(change, jnp.zeros(num_layers), map_heads(lambda head: jnp.zeros(()), heads))


def add_update(
    sums: WeightedSum, change: Change, trained: TrainedLayers, weight: Array | LayerWeights
) -> WeightedSum:
    """Adds one client's change.

    Args:
      sums: Sum over the clients so far.
      change: Change of the client; may be NaN if its weight is 0.
      trained: Parameters that it trained.
      weight: float32 [], number of its training examples, or another weight in each layer; 0
        leaves it out.

    Returns:
      Sums.
    """
    layers_R = trained.layers_R
    weights = weight if isinstance(weight, LayerWeights) else _same_weight(weight, trained)
    of_rows_R, of_heads = weights.of_change()

    def weighted(weight: Array, leaf: jax.Array) -> jax.Array:
        return jnp.where(weight > 0, weight * leaf, 0.0)  # 0 * NaN would be NaN

    def into_rows(sum_L: jax.Array, change_R: jax.Array) -> jax.Array:
        return sum_L.at[layers_R].add(weighted(align(of_rows_R, change_R), change_R), mode="drop")

    def into_head(total: Params, own: Params, weight: Array) -> Params:
        return jax.tree.map(lambda total, leaf: total + weighted(weight, leaf), total, own)

    rows_L = jax.tree.map(into_rows, sums.change.rows, change.rows)
    heads = map_heads(into_head, sums.change.heads, change.heads, of_heads)
    weight_L = jnp.asarray(sums.weight_L).at[layers_R].add(weights.rows_R, mode="drop")
    totals = map_heads(
        lambda total, own, weight: total + weight * own,
        sums.weights,
        trained.heads,
        weights.heads,
    )
    return WeightedSum(Change(rows_L, heads), weight_L, totals)


def _same_weight(weight: Array, trained: TrainedLayers) -> LayerWeights:
    rows_R = jnp.full(trained.layers_R.shape, weight)
    return LayerWeights(rows_R, map_heads(lambda own: weight, trained.heads))


def weighted_mean(sums: WeightedSum) -> AggregatedUpdate:
    """Divides a sum by its weights: the sample-weighted mean per layer (F³OCUS, section 3.1)."""

    def over_layers(sum_L: jax.Array) -> jax.Array:
        return sum_L / align(jnp.where(sums.weight_L > 0, sums.weight_L, 1.0), sum_L)

    def over_head(head: Params, weight: jax.Array) -> Params:
        return jax.tree.map(lambda leaf: leaf / jnp.where(weight > 0, weight, 1.0), head)

    rows_L = jax.tree.map(over_layers, sums.change.rows)
    heads = map_heads(over_head, sums.change.heads, sums.weights)
    trained = map_heads(lambda weight: weight > 0, sums.weights)
    return AggregatedUpdate(Change(rows_L, heads), sums.weight_L > 0, trained)


def of_layer(
    tree_KR: Any, layers_KR: Array, counted_K: Array, layer: jax.Array
) -> tuple[Any, jax.Array]:
    """Returns what the clients hold of one layer.

    Args:
      tree_KR: Pytree with leading axes K and R, as the rows of changes.
      layers_KR: int32, layer of each row; L for an unused slot.
      counted_K: bool, True for clients that count.
      layer: int32 [], index of the layer.

    Returns:
      (the pytree with leading axis K, bool [K] that is True for counted clients that trained the
      layer); values of the others may be anything.
    """
    here_KR = layers_KR == layer
    slot_K = jnp.argmax(here_KR, axis=1)
    clients_K = jnp.arange(len(slot_K))
    own_K = jax.tree.map(lambda leaf_KR: leaf_KR[clients_K, slot_K], tree_KR)
    return own_K, jnp.any(here_KR, axis=1) & counted_K


def align(values: Array, like: Array) -> Array:
    """Reshapes a vector along the leading axis of `like` so that it broadcasts against it."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))
