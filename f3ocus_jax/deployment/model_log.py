"""Rounds in which the parts of the server's model changed, so that a site is sent what it lacks."""

import jax
import numpy as np

from f3ocus_jax.deployment.messages import Parameters
from f3ocus_jax.types import Array, Params, Rows, ServerState


class ModelLog:
    """The model after the last round, and when each layer and entry of the head changed last.

    Attributes:
      round: Round after which the model is.
    """

    def __init__(self, state: ServerState) -> None:
        """Begins with a model of which no site holds anything."""
        self.round = int(state.round)
        self._rows_L, self._head = jax.device_get((state.rows_L, state.head))
        num_layers = jax.tree.leaves(self._rows_L)[0].shape[0]
        self._changed_L = np.full(num_layers, self.round)
        self._changed = dict.fromkeys(self._head, self.round)

    def follow(self, state: ServerState) -> None:
        """Notes what differs by a bit from the model before, if there was a round since then."""
        if int(state.round) == self.round:
            return
        self.round = int(state.round)
        rows_L, head = jax.device_get((state.rows_L, state.head))
        self._changed_L[differing_layers(self._rows_L, rows_L)] = self.round
        for entry in head:
            if _differ(self._head[entry], head[entry]):
                self._changed[entry] = self.round
        self._rows_L, self._head = rows_L, head

    def since(self, round: int) -> Parameters:
        """Returns what has changed since a round; everything since `messages.NOTHING`."""
        layers_R = np.flatnonzero(self._changed_L > round).astype(np.int32)
        rows_R = jax.tree.map(lambda leaf: leaf[layers_R], self._rows_L)
        head = {entry: self._head[entry] for entry in self._head if self._changed[entry] > round}
        return Parameters(layers_R, rows_R, head)


def differing_layers(before_L: Rows, after_L: Rows) -> np.ndarray:
    """Returns differing_L, bool, True for layers of which any bit differs."""
    pairs = zip(jax.tree.leaves(before_L), jax.tree.leaves(after_L), strict=True)
    return np.any([(_bits(one) != _bits(other)).any(axis=1) for one, other in pairs], axis=0)


def _bits(leaf_L: Array) -> np.ndarray:
    return np.asarray(leaf_L, order="C").reshape(len(leaf_L), -1).view(np.uint8)


def _differ(before: Params, after: Params) -> bool:
    pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    return any(np.asarray(one).tobytes() != np.asarray(other).tobytes() for one, other in pairs)
