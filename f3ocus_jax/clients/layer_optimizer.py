"""Optimizer with a state of its own for every layer, which a client can keep between rounds.

A client trains other layers in every round. A layer's moments and its count of steps then wait for
the next round in which the client trains it.
"""

from typing import Any

import jax
import optax

from f3ocus_jax.clients.gradient import ClientParams
from f3ocus_jax.clients.passes import Choice
from f3ocus_jax.types import Params, Rows


def by_layer(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """Gives every row and the head a state of their own.

    Args:
      optimizer: Optimizer whose step of an array depends on that array alone, such as AdamW.

    Returns:
      An optimizer of (rows, head), with the state {"rows": state of the rows with their leading
      axis, "head": state of the head}.
    """

    def init(trained: ClientParams) -> dict[str, Any]:
        rows, head = trained
        return {"rows": jax.vmap(optimizer.init)(rows), "head": optimizer.init(head)}

    def update(
        gradients: ClientParams, state: dict[str, Any], trained: ClientParams
    ) -> tuple[ClientParams, dict[str, Any]]:
        step = jax.vmap(optimizer.update)
        rows, rows_state = step(gradients[0], state["rows"], trained[0])
        head, head_state = optimizer.update(gradients[1], state["head"], trained[1])
        return (rows, head), {"rows": rows_state, "head": head_state}

    return optax.GradientTransformation(init, update)


def init_all(optimizer: optax.GradientTransformation, rows_L: Rows, head: Params) -> dict[str, Any]:
    """Returns the state of all layers and of the head before any step."""
    return by_layer(optimizer).init((rows_L, head))


def take(state: dict[str, Any], choice: Choice) -> dict[str, Any]:
    """Returns the state of the chosen rows and of the head."""
    return {"rows": choice.take(state["rows"]), "head": state["head"]}


def put(state: dict[str, Any], choice: Choice, trained: dict[str, Any]) -> dict[str, Any]:
    """Returns the state of all layers after some of them were trained.

    Args:
      state: State before.
      choice: Layers that were trained.
      trained: State of the chosen rows after training, and of the head if that was trained, too.
    """
    return {**state, **trained, "rows": choice.put(state["rows"], trained["rows"])}
