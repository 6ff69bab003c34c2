"""How does the server make one model of what the clients send back?"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.types import Array, Params, Rows


@jax.jit
def aggregate(rows_L: Rows, layers_KR: jax.Array, weights_K: jax.Array, rows_KR: Rows) -> Rows:
    """Averages every layer over the clients that trained it (F³OCUS, section 3.1).

    Args:
      rows_L: the layers as the round began.
      layers_KR: int32, which layer each returned row is; L for a place that is not in use.
      weights_K: float32, the clients' training examples; 0 leaves a client out.
      rows_KR: the returned rows, leading axes K and R.

    Returns:
      The layers after the round, leading axis L, in the dtypes of `rows_L`; a layer that nobody
      trained is as it was.
    """
    num_layers = jax.tree.leaves(rows_L)[0].shape[0]
    weights_KR = jnp.broadcast_to(weights_K[:, None], layers_KR.shape).astype(jnp.float32)
    flat_layers = layers_KR.reshape(-1)
    total_L = _sum_by_layer(weights_KR.reshape(-1), flat_layers, num_layers)

    def mean(before_L: jax.Array, after_KR: jax.Array) -> jax.Array:
        after = after_KR.reshape(-1, *after_KR.shape[2:]).astype(jnp.float32)
        weights = _align(weights_KR.reshape(-1), after)
        # A client that is left out may hold NaN, and 0 * NaN is NaN.
        weighted = jnp.where(weights > 0, after, 0.0) * weights
        sum_L = _sum_by_layer(weighted, flat_layers, num_layers)
        total = _align(total_L, sum_L)
        mean_L = sum_L / jnp.where(total > 0, total, 1.0)
        return jnp.where(total > 0, mean_L, before_L).astype(before_L.dtype)

    return jax.tree.map(mean, rows_L, rows_KR)


@jax.jit
def aggregate_head(head: Params, weights_K: jax.Array, heads_K: Params) -> Params:
    """Averages one head over all clients.

    Args:
      head: the head as the round began.
      weights_K: float32, the clients' training examples; 0 leaves a client out.
      heads_K: the returned heads, leading axis K.

    Returns:
      The weighted mean; `head` itself if every weight is 0.
    """
    stack_1 = jax.tree.map(lambda leaf: leaf[None], head)
    heads_K1 = jax.tree.map(lambda leaf: leaf[:, None], heads_K)
    layers_K1 = jnp.zeros((weights_K.size, 1), jnp.int32)
    means_1 = aggregate(stack_1, layers_K1, weights_K, heads_K1)
    return jax.tree.map(lambda leaf: leaf[0], means_1)


def aggregate_heads(
    heads: Params, heads_K: Sequence[str], weights_K: Array, returned_K: Params
) -> Params:
    """Averages every task's head over the clients that have the task.

    Args:
      heads: entry to head, as the round began.
      heads_K: the entry that each client trains.
      weights_K: float32, the clients' training examples; 0 leaves a client out.
      returned_K: entry to the returned heads, leading axis K.

    Returns:
      The heads after the round; one that nobody trained is as it was.
    """
    trains_K = {name: np.array([name == own for own in heads_K], np.float32) for name in heads}
    return {
        name: aggregate_head(head, weights_K * trains_K[name], returned_K[name])
        for name, head in heads.items()
    }


def _sum_by_layer(values: jax.Array, layers: jax.Array, num_layers: int) -> jax.Array:
    sums_L = jnp.zeros((num_layers, *values.shape[1:]), jnp.float32)
    return sums_L.at[layers].add(values, mode="drop")


def _align(values: jax.Array, like: jax.Array) -> jax.Array:
    return values.reshape(-1, *(1,) * (like.ndim - 1))
