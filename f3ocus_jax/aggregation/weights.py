"""Weights of the clients in the mean, with a limit on each client's share of a layer."""

import jax
import numpy as np

from f3ocus_jax.aggregation.layerwise import LayerWeights, TrainedLayers, map_heads
from f3ocus_jax.types import Array


def cap_shares(weights_K: Array, most: float) -> np.ndarray:
    """Returns shares that are proportional to weights, as far as none is above a limit.

    What the largest clients have too much is given to the others in proportion, until nobody is
    above the limit (water-filling).

    Args:
      weights_K: Weights, >= 0; clients of weight 0 have no share.
      most: Largest share of one client, in (0, 1].

    Returns:
      shares_K, float64, summing to 1, or to 0 where all weights are 0. Where n clients have a
      weight and most <= 1 / n, all n have 1 / n.
    """
    weights_K = np.asarray(weights_K, np.float64)
    counted_K = weights_K > 0
    if not counted_K.any():
        return np.zeros_like(weights_K)
    if most * counted_K.sum() <= 1:
        return counted_K / counted_K.sum()
    capped_K = np.zeros_like(counted_K)
    shares_K = weights_K / weights_K.sum()
    while (over_K := ~capped_K & (shares_K > most * (1 + 1e-12))).any():
        capped_K |= over_K
        left = (1.0 - most * capped_K.sum()) / weights_K[~capped_K].sum()
        shares_K = np.where(capped_K, most, weights_K * left)
    return shares_K


def weigh_layers(
    weights_K: Array, trained_K: TrainedLayers, *, num_layers: int, most: float
) -> LayerWeights:
    """Returns the weight of each client in each layer and each entry of the head.

    Args:
      weights_K: float32, number of training examples; 0 for clients that do not take part.
      trained_K: Parameters that each client trains, with leading axis K.
      num_layers: L.
      most: Largest share of one client among those that train a layer; 1 for any.

    Returns:
      Weights with leading axis K, in examples: the sum over a layer's clients is theirs.
    """
    weights_K = np.asarray(weights_K, np.float32)
    layers_KR = np.asarray(trained_K.layers_R)
    if most >= 1:
        rows_KR = np.broadcast_to(weights_K[:, None], layers_KR.shape)
        return LayerWeights(rows_KR, map_heads(lambda own_K: weights_K, trained_K.heads))

    def capped(own_K: Array) -> np.ndarray:
        own = np.where(np.asarray(own_K), weights_K, 0.0)
        return (cap_shares(own, most) * own.sum(dtype=np.float64)).astype(np.float32)

    rows_KR = np.zeros(layers_KR.shape, np.float32)
    for layer in range(num_layers):
        here_KR = layers_KR == layer
        weight_K = capped(here_KR.any(axis=1))
        rows_KR = np.where(here_KR, weight_K[:, None], rows_KR)
    return LayerWeights(rows_KR, map_heads(capped, trained_K.heads))


def take(weights_K: LayerWeights, indices: np.ndarray | int) -> LayerWeights:
    """Returns the weights of some clients."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[indices], weights_K)
