"""Scores that the server changes before it chooses: controls, and a correction for depth."""

import dataclasses

import jax
import numpy as np

from f3ocus_jax.data import order
from f3ocus_jax.importance import Importance
from f3ocus_jax.importance.settings import ImportanceConfig


def change(
    scored: Importance, present_K: np.ndarray, settings: ImportanceConfig, seed: int
) -> Importance:
    """Changes the scores of a round as its settings say.

    Args:
      scored: Importance with leading axes K and L.
      present_K: bool, clients whose scores count in the round.
      settings: Settings of the score.
      seed: Seed of the run.

    Returns:
      The importance that layers are chosen by.
    """
    scored = shuffle_layers(scored, seed) if settings.shuffled else scored
    return divide_by_mean(scored, present_K) if settings.relative else scored


def shuffle_layers(scored: Importance, seed: int) -> Importance:
    """Exchanges the layers' scores by a permutation of the run.

    Args:
      scored: Importance with leading axes K and L.
      seed: Seed of the run.

    Returns:
      The same values, at other layers.
    """
    draw = order.make_generator(seed, 0, "", "shuffled scores")
    order_L = draw.permutation(scored.values_L.shape[1])
    return jax.tree.map(lambda leaf: leaf[:, order_L], scored)


def divide_by_mean(scored: Importance, present_K: np.ndarray) -> Importance:
    """Divides each layer's score by its mean over the clients of the round.

    The score of a layer mostly follows its depth, in the same way for all clients. What this leaves
    says which client needs a layer more than the others do.

    Args:
      scored: Importance with leading axes K and L.
      present_K: bool, clients whose scores count.

    Returns:
      Importance whose scores sum to 1 for each of these clients. The values stay as they were
      measured. A layer that all of them score 0 has the score of an average layer.
    """
    scores_KL = np.array(scored.scores_L, np.float32)
    some_KL = scores_KL[present_K]
    mean_L = some_KL.mean(axis=0)
    ratio_KL = np.divide(some_KL, mean_L, out=np.ones_like(some_KL), where=mean_L > 0)
    scores_KL[present_K] = ratio_KL / ratio_KL.sum(axis=1, keepdims=True)
    return dataclasses.replace(scored, scores_L=scores_KL)
