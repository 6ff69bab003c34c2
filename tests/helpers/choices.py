"""Layers that a client trains, padded to a fixed number."""

from collections.abc import Sequence

import jax.numpy as jnp

from f3ocus_jax.clients import Choice


def padded_choice(layers: Sequence[int], slots: int = 5, depth: int = 5) -> Choice:
    """The choice of these layers of a model of `depth`, in so many slots."""
    return Choice(jnp.array([*layers, *[depth] * (slots - len(layers))], jnp.int32))
