"""The Gaussian mechanism on pytrees: a sum of clipped parts plus noise."""

from typing import Any

import jax
import jax.numpy as jnp

from f3ocus_jax.aggregation.layerwise import AggregatedUpdate, WeightedSum, map_heads
from f3ocus_jax.types import Array


def add_noise(tree: Any, key: jax.Array, deviation: float | Array) -> Any:
    """Adds Gaussian noise to every element.

    Args:
      tree: Pytree of float arrays.
      key: Typed random key, used for this once.
      deviation: Standard deviation of the noise.

    Returns:
      The same pytree, float32.
    """
    leaves, treedef = jax.tree.flatten(tree)
    keys = jax.random.split(key, max(len(leaves), 1))
    noisy = [
        leaf.astype(jnp.float32) + deviation * jax.random.normal(one, leaf.shape, jnp.float32)
        for leaf, one in zip(leaves, keys, strict=False)
    ]
    return jax.tree.unflatten(treedef, noisy)


def noised_mean(
    total: WeightedSum,
    trained: Any,
    key: jax.Array,
    *,
    clip: float,
    multiplier: float,
    clients: int,
) -> AggregatedUpdate:
    """Makes the update of a round from the sum of the clients' clipped changes (McMahan, 2018).

    Neither the divisor nor the layers that change may tell whose updates came: every layer gets
    noise, one that nobody trained too, and all are divided by the same number.

    Args:
      total: Sum of changes of norm at most `clip`, each of weight 1 or 0.
      trained: bool [] by entry of the head, True if clients train it in this round.
      key: Typed random key of the round.
      clip: C, largest norm of one client's change, layers and head together.
      multiplier: Standard deviation of the noise in the sum, divided by C.
      clients: Largest number of clients in a round.

    Returns:
      The update; all of its layers count as trained.
    """
    noisy = add_noise(total.change, key, clip * multiplier)
    heads = map_heads(
        lambda own, head: jax.tree.map(lambda leaf: jnp.where(own, leaf, 0.0), head),
        trained,
        noisy.heads,
    )
    change = jax.tree.map(lambda leaf: leaf / clients, noisy.replace(heads=heads))
    return AggregatedUpdate(change, jnp.ones_like(total.weight_L, bool), trained)
