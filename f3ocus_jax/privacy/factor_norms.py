"""Norms of the gradients of single examples, from activations and output gradients.

The gradient of a linear map's weights on one example is Σ_t a_t g_tᵀ, whose squared norm is
Σ_ts (a_t·a_s)(g_t·g_s): no gradient of one example is formed ("ghost clipping": Goodfellow, 2015;
Li et al., 2022). Biases and norms, which are small, have their gradients formed.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from f3ocus_jax.importance import factors
from f3ocus_jax.importance.layer_kernel import with_example_axis
from f3ocus_jax.types import Params

Apply = Callable[[Params, jax.Array, Any], jax.Array]
"""(parameters, hidden [1, ...], context of one example) -> outputs [1, ...]."""


def squared_norms(
    apply: Apply,
    params: Params,
    hidden_B: jax.Array,
    context: Any,
    axes: Any,
    cotangents_B: jax.Array,
) -> jax.Array:
    """Returns the squared norm of each example's gradient.

    Args:
      apply: The function whose parameters are differentiated.
      params: Its parameters; without any, all norms are 0.
      hidden_B: Inputs, leading axis B.
      context: Further inputs of all examples.
      axes: Axis of the examples in `context`, see `network.example_axes`.
      cotangents_B: Gradients of the loss in the outputs, leading axis B.

    Returns:
      float32 [B].
    """
    if not jax.tree.leaves(params):
        return jnp.zeros(len(hidden_B), jnp.float32)

    def of_example(hidden: jax.Array, context: Any, cotangent: jax.Array) -> jax.Array:
        single = with_example_axis(context, axes)
        found = factors.factor_gradients(
            lambda params: apply(params, hidden[None], single)[0], params, cotangent[None]
        )
        total = jnp.sum(jnp.square(found.others_CP))
        for inputs, gradients_CTO in zip(found.activations, found.output_gradients, strict=True):
            total += _of_linear_map(inputs, gradients_CTO[0])
        return total

    return jax.vmap(of_example, in_axes=(0, axes, 0))(hidden_B, context, cotangents_B)


def _of_linear_map(activations: jax.Array, output_gradients: jax.Array) -> jax.Array:
    """Returns the squared norm of a linear map's gradient, the cheaper way.

    Args:
      activations: Inputs of the map, [T, in].
      output_gradients: Gradients of its outputs, [T, out].
    """
    tokens, wide = activations.shape
    out = output_gradients.shape[1]
    if tokens * (wide + out) > wide * out:
        return jnp.sum(jnp.square(activations.T @ output_gradients))
    products = (activations @ activations.T) * (output_gradients @ output_gradients.T)
    return jnp.maximum(jnp.sum(products), 0.0)  # rounding can leave a small negative number
