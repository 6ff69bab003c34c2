"""Step of the server from one round's change to the next model.

The aggregated change is used as a negative gradient (Reddi et al., 2021, "Adaptive Federated
Optimization"). Every layer and every task's head has an optimizer state of its own, step count
included: one that no client trained in a round keeps its parameters and its state bit for bit.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from f3ocus_jax.aggregation.layerwise import AggregatedUpdate, align, map_heads
from f3ocus_jax.aggregation.settings import AggregationConfig
from f3ocus_jax.types import Params, Rows

Apply = Callable[[Rows, Params, Any, AggregatedUpdate], tuple[Rows, Params, Any]]
"""(rows_L, head, state, update) -> the same three after the round."""


def make_server_optimizer(
    settings: AggregationConfig,
) -> tuple[Callable[[Rows, Params], Any], Apply]:
    """Makes the server's optimizer.

    Args:
      settings: The settings `config.aggregation`.

    Returns:
      (init, apply): init(rows_L, head) -> state before round 1, and `Apply`.
    """
    optimizer: optax.GradientTransformation = settings.make("optimizer")

    def init(rows_L: Rows, head: Params) -> Any:
        heads = map_heads(optimizer.init, head)
        return {"rows_L": jax.vmap(optimizer.init)(rows_L), "head": heads}

    def apply(
        rows_L: Rows, head: Params, state: Any, update: AggregatedUpdate
    ) -> tuple[Rows, Params, Any]:
        def step(params: Params, state: Any, change: Params) -> tuple[Params, Any]:
            slope = jax.tree.map(jnp.negative, change)
            updates, state = optimizer.update(slope, state, params)
            return optax.apply_updates(params, updates), state

        def keep_untrained(after: jax.Array, before: jax.Array) -> jax.Array:
            return jnp.where(align(update.trained_L, after), after, before)

        change = update.change
        stepped_L = jax.vmap(step)(rows_L, state["rows_L"], change.rows)
        rows_L, rows_state_L = jax.tree.map(keep_untrained, stepped_L, (rows_L, state["rows_L"]))

        def step_head(trained: jax.Array, *entry: Any) -> Any:
            def keep(after: jax.Array, before: jax.Array) -> jax.Array:
                return jnp.where(trained, after, before)

            return jax.tree.map(keep, step(*entry), entry[:2])

        stepped = map_heads(step_head, update.trained, head, state["head"], change.heads)
        heads, states = ({name: pair[i] for name, pair in stepped.items()} for i in range(2))
        return rows_L, heads, {"rows_L": rows_state_L, "head": states}

    return init, apply
