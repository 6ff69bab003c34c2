"""Weights of the clients in the mean, with a limit on each client's share of a layer."""

import dataclasses

import jax
import numpy as np

from f3ocus_jax.aggregation.layerwise import LayerWeights, TrainedLayers, map_heads
from f3ocus_jax.types import Array

EXAMPLES, EQUAL, STEPS = "examples", "equal", "steps"
WEIGHTS = (EXAMPLES, EQUAL, STEPS)
"""By training examples, every client the same, or by examples with changes normalised by steps."""


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


def normalise_steps(
    weights_K: LayerWeights, trained_K: TrainedLayers, steps_K: Array, *, num_layers: int
) -> LayerWeights:
    """Normalises every client's change by its number of local steps, as FedNova does.

    FedNova (Wang et al., 2020) divides client k's change by the norm of the coefficients with which
    its gradients enter it, which is its number of steps τ_k for plain SGD, and multiplies the
    weighted mean with Σ p_k τ_k, for the shares p_k of the weights. Here τ_k is the number of steps
    for AdamW, too, whose change is no linear combination of gradients: its step has about the
    length of the learning rate in every parameter, so that a change grows with τ_k.

    Args:
      weights_K: Weights with leading axis K.
      trained_K: Parameters that each client trains, with leading axis K.
      steps_K: int32 >= 1, local steps of each client.
      num_layers: L.

    Returns:
      The same weights with factors Σ_j p_j τ_j / τ_k, over the clients j that train the layer.
    """
    steps_K = np.asarray(steps_K, np.float64)
    layers_KR = np.asarray(trained_K.layers_R)

    def factors(own_K: Array, weight_K: Array) -> np.ndarray:
        shared_K = np.where(own_K, weight_K, 0.0).astype(np.float64)
        effective = shared_K @ steps_K / max(shared_K.sum(), 1e-30)
        return (effective / steps_K).astype(np.float32)

    factors_KR = np.ones(layers_KR.shape, np.float32)
    for layer in range(num_layers):
        here_KR = layers_KR == layer
        weight_K = np.max(np.where(here_KR, weights_K.rows_R, 0.0), axis=1, initial=0.0)
        of_layer_K = factors(here_KR.any(axis=1), weight_K)
        factors_KR = np.where(here_KR, of_layer_K[:, None], factors_KR)
    of_heads = map_heads(factors, trained_K.heads, weights_K.heads)
    return dataclasses.replace(weights_K, factors_R=factors_KR, head_factors=of_heads)


def take(weights_K: LayerWeights, indices: np.ndarray | int) -> LayerWeights:
    """Returns the weights of some clients."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[indices], weights_K)
