"""Control variates of SCAFFOLD (Karimireddy et al., 2020, algorithm 1 with option II).

A client adds c − c_i to every gradient, where its control c_i estimates its own mean gradient and
the server's control c that of all clients. After K steps of SGD with the learning rate η, from x
to y, its control becomes c_i − c + (x − y) / (K η): the mean of the gradients that it has seen. A
layer that it does not train keeps its control.
"""

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.clients.gradient import ClientParams
from f3ocus_jax.clients.passes import Choice
from f3ocus_jax.types import Array, Controls, Params, Rows


def make_controls(rows_L: Rows, head: Params) -> Controls:
    """Returns controls of 0, with which a round is one of FedAvg."""
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), Controls(rows_L, head))


def take(controls: Controls, choice: Choice) -> Controls:
    """Returns the controls of the chosen layers and of the head."""
    return Controls(choice.take(controls.rows), controls.head)


def correction(server: Controls, own: Controls) -> ClientParams:
    """Returns what is added to a gradient: c − c_i, for rows and head."""
    added = jax.tree.map(lambda common, mine: common - mine, server, own)
    return added.rows, added.head


def control_change(
    server: Controls, before: ClientParams, after: ClientParams, *, steps: Array, rate: float
) -> Controls:
    """Returns the change of a client's control in one round.

    Args:
      server: The server's control of the trained rows and of the head.
      before: Rows and head at the start of the round.
      after: The same after training.
      steps: int32 [], number of local steps, at least 1.
      rate: Learning rate of SGD.

    Returns:
      (x − y) / (K η) − c, for rows and head.
    """

    def of_leaf(common: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        return (x - y).astype(jnp.float32) / (jnp.maximum(steps, 1) * rate) - common

    return jax.tree.map(of_leaf, server, Controls(*before), Controls(*after))


def add_rows(
    controls: Controls, change: Controls, layers_R: Array, share: Array | float
) -> Controls:
    """Adds a share of the change of some rows and of the head.

    Args:
      controls: Controls of all layers.
      change: Change of the rows of `layers_R`, and of the head; any values in unused slots.
      layers_R: int32, layer of each row; L for an unused slot.
      share: float32 [], factor of the change; a change of share 0 may be NaN.
    """

    def scaled(leaf: jax.Array) -> jax.Array:
        return jnp.where(share > 0, share * leaf, 0.0)

    rows = jax.tree.map(
        lambda leaf_L, leaf_R: leaf_L.at[layers_R].add(scaled(leaf_R), mode="drop"),
        controls.rows,
        change.rows,
    )
    head = jax.tree.map(lambda leaf, own: leaf + scaled(own), controls.head, change.head)
    return Controls(rows, head)


def add_changes(
    controls: Controls, changes_K: Controls, layers_KR: Array, counted_K: Array, clients: int
) -> Controls:
    """Returns the server's control after a round: c + 1/N Σ (c_i⁺ − c_i).

    Args:
      controls: The server's control.
      changes_K: Changes of the controls of those that trained, with a leading axis.
      layers_KR: int32, their layers; L for an unused slot.
      counted_K: bool, those whose updates are used.
      clients: N, number of all clients, whether they took part or not.
    """
    for index in np.flatnonzero(counted_K):
        change = jax.tree.map(lambda leaf, index=index: leaf[index], changes_K)
        controls = _add_rows(controls, change, layers_KR[index], jnp.float32(1.0 / clients))
    return controls


_add_rows = jax.jit(add_rows)
