"""How does the server step from one round's change to the next model? Optimizers over rounds.

The change that the clients agree on is taken for a negative gradient (Reddi et al., 2021, "Adaptive
Federated Optimization"). Every layer and every task's head has a state of its own, step count
included, so that one that nobody trained in a round stays bit for bit as it was, and so does what
its optimizer remembers.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from f3ocus_jax.aggregation.layerwise import Combined, align, by_entry
from f3ocus_jax.config import AggregationConfig, choose
from f3ocus_jax.types import Params, Rows

Apply = Callable[[Rows, Params, Any, Combined], tuple[Rows, Params, Any]]
"""(rows_L, head, state, combined) -> the same three after the round."""


def _average(settings: AggregationConfig) -> optax.GradientTransformation:
    return optax.sgd(settings.learning_rate)


def _momentum(settings: AggregationConfig) -> optax.GradientTransformation:
    return optax.sgd(settings.learning_rate, momentum=settings.momentum)


def _adam(settings: AggregationConfig) -> optax.GradientTransformation:
    return optax.adam(
        settings.learning_rate, settings.momentum, settings.second_momentum, settings.epsilon
    )


def _yogi(settings: AggregationConfig) -> optax.GradientTransformation:
    return optax.yogi(
        settings.learning_rate, settings.momentum, settings.second_momentum, settings.epsilon
    )


OPTIMIZERS: Mapping[str, Callable[[AggregationConfig], optax.GradientTransformation]] = {
    "fedavg": _average,
    "fedavgm": _momentum,
    "fedadam": _adam,
    "fedyogi": _yogi,
}
"""Server optimizers by name; Adam and Yogi correct their bias, as optax does."""


def make_server_optimizer(
    settings: AggregationConfig,
) -> tuple[Callable[[Rows, Params], Any], Apply]:
    """Makes the server's optimizer.

    Args:
      settings: of `config.aggregation`.

    Returns:
      (init, apply): init(rows_L, head) -> the state before round 1, and `Apply`.

    Raises:
      ConfigError: for an unknown optimizer.
    """
    optimizer = choose("aggregation.optimizer", settings.optimizer, OPTIMIZERS)(settings)

    def init(rows_L: Rows, head: Params) -> Any:
        heads = by_entry(optimizer.init, head)
        return {"rows_L": jax.vmap(optimizer.init)(rows_L), "head": heads}

    def apply(
        rows_L: Rows, head: Params, state: Any, combined: Combined
    ) -> tuple[Rows, Params, Any]:
        def step(params: Params, state: Any, change: Params) -> tuple[Params, Any]:
            slope = jax.tree.map(jnp.negative, change)
            updates, state = optimizer.update(slope, state, params)
            return optax.apply_updates(params, updates), state

        def keep_untrained(after: jax.Array, before: jax.Array) -> jax.Array:
            return jnp.where(align(combined.trained_L, after), after, before)

        change = combined.change
        stepped_L = jax.vmap(step)(rows_L, state["rows_L"], change.rows)
        rows_L, rows_state_L = jax.tree.map(keep_untrained, stepped_L, (rows_L, state["rows_L"]))

        def step_head(trained: jax.Array, *entry: Any) -> Any:
            def keep(after: jax.Array, before: jax.Array) -> jax.Array:
                return jnp.where(trained, after, before)

            return jax.tree.map(keep, step(*entry), entry[:2])

        stepped = by_entry(step_head, combined.trained, head, state["head"], change.heads)
        heads, memories = ({name: pair[i] for name, pair in stepped.items()} for i in range(2))
        return rows_L, heads, {"rows_L": rows_state_L, "head": memories}

    return init, apply
