"""How does the server make one change of the model from those that clients send back?

A weighted mean is added up while clients come in, so that the server holds one sum however many
clients there are. Median and trimmed mean need every client's change of a layer at the same time.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.types import Array, Params, Rows


@struct.dataclass
class Change:
    """What a client, or all of them together, would add to the model.

    Attributes:
      rows: change of the layers, float32; leading axis R of one client, L of all.
      heads: change of every entry of the head, float32, by its name.
    """

    rows: Rows
    heads: Params


@struct.dataclass
class TrainedLayers:
    """What one client trained, as places in the model.

    Attributes:
      layers_R: int32, which layer each returned row is; L for a place that is not in use.
      heads: bool [] by entry of the head; a client trains that of its own task.
    """

    layers_R: Array
    heads: Mapping[str, Array]


@struct.dataclass
class WeightedSum:
    """Changes added up over clients.

    Attributes:
      change: weighted sums, with leading axis L for the layers.
      weight_L: sum of the weights of the clients that trained each layer.
      weights: sum of the weights of the clients that trained each entry of the head.
    """

    change: Change
    weight_L: Array
    weights: Mapping[str, Array]


@struct.dataclass
class AggregatedUpdate:
    """One round's change of the model.

    Attributes:
      change: to be added to the layers (leading axis L) and the heads.
      trained_L: bool, whether any client trained the layer; its change is 0 if not.
      trained: bool [] by entry of the head, whether any client trained it.
    """

    change: Change
    trained_L: Array
    trained: Mapping[str, Array]


def difference(
    rows_L: Rows, heads: Params, trained: TrainedLayers, rows_R: Rows, heads_after: Params
) -> Change:
    """Returns what a client changed, in float32.

    Args:
      rows_L: the layers as the round began.
      heads: entry to head, as the round began.
      trained: what the client trained.
      rows_R: the returned rows.
      heads_after: entry to returned head.

    Returns:
      Change; 0 in places that are not in use and in heads that the client did not train.
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
    """Calls a function with each entry of the head: (first's, second's, ...) -> anything."""
    return {name: function(*(each[name] for each in heads)) for name in heads[0]}


def is_finite(tree: Any) -> jax.Array:
    """Returns whether a pytree holds no NaN and no infinity: bool []."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def global_norm(change: Change) -> jax.Array:
    """Returns the Euclidean norm of a change, layers and head together: float32 []."""
    squares = [jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(change)]
    return jnp.sqrt(jnp.sum(jnp.stack(squares)))


def clip_to_norm(change: Change, limit: float) -> Change:
    """Scales a change down to a norm of at most `limit`; 0 leaves it as it is."""
    if not limit:
        return change
    # A change of norm 0 keeps its length, and no 0 / 0 is formed.
    scale = jnp.minimum(1.0, limit / jnp.maximum(global_norm(change), 1e-30))
    return jax.tree.map(lambda leaf: scale * leaf, change)


def make_empty_sum(rows_L: Rows, heads: Params) -> WeightedSum:
    """Returns the sums of no client."""

    def zeros(leaf: jax.Array) -> jax.Array:
        return jnp.zeros(leaf.shape, jnp.float32)

    num_layers = jax.tree.leaves(rows_L)[0].shape[0]
    change = Change(jax.tree.map(zeros, rows_L), jax.tree.map(zeros, heads))
    return WeightedSum(change, jnp.zeros(num_layers), map_heads(lambda head: jnp.zeros(()), heads))


def add_update(
    sums: WeightedSum, change: Change, trained: TrainedLayers, weight: Array
) -> WeightedSum:
    """Adds one client's change.

    Args:
      sums: of the clients before it.
      change: of the client; may be NaN if its weight is 0.
      trained: what it trained.
      weight: float32 [], its training examples; 0 leaves it out.

    Returns:
      Sums.
    """
    layers_R = trained.layers_R

    def weighted(leaf: jax.Array) -> jax.Array:
        return jnp.where(weight > 0, weight * leaf, 0.0)  # 0 * NaN would be NaN

    def into_rows(sum_L: jax.Array, change_R: jax.Array) -> jax.Array:
        return sum_L.at[layers_R].add(weighted(change_R), mode="drop")

    rows_L = jax.tree.map(into_rows, sums.change.rows, change.rows)
    heads = jax.tree.map(
        lambda total, leaf: total + weighted(leaf), sums.change.heads, change.heads
    )
    weight_L = sums.weight_L.at[layers_R].add(weight, mode="drop")
    weights = map_heads(lambda total, own: total + weight * own, sums.weights, trained.heads)
    return WeightedSum(Change(rows_L, heads), weight_L, weights)


def weighted_mean(sums: WeightedSum) -> AggregatedUpdate:
    """Divides sums by their weights: the sample-weighted mean per layer (F³OCUS, section 3.1)."""

    def over_layers(sum_L: jax.Array) -> jax.Array:
        return sum_L / align(jnp.where(sums.weight_L > 0, sums.weight_L, 1.0), sum_L)

    def over_head(head: Params, weight: jax.Array) -> Params:
        return jax.tree.map(lambda leaf: leaf / jnp.where(weight > 0, weight, 1.0), head)

    rows_L = jax.tree.map(over_layers, sums.change.rows)
    heads = map_heads(over_head, sums.change.heads, sums.weights)
    trained = map_heads(lambda weight: weight > 0, sums.weights)
    return AggregatedUpdate(Change(rows_L, heads), sums.weight_L > 0, trained)


def align(values: jax.Array, like: jax.Array) -> jax.Array:
    """Gives a vector along the leading axis of `like` as many axes as that has."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))
