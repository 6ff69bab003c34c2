"""The kernel of one layer from the cotangents of its output: as a product, dense, or its trace.

All functions take `pulled`, the cotangents of the layer's output for every output of the network,
[C', N, ...], as `layer_sweep` gives them.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from f3ocus_jax.importance import factors
from f3ocus_jax.importance.eigenproblem import Eigenproblem
from f3ocus_jax.importance.layer_sweep import map_in_chunks
from f3ocus_jax.models import units


def kernel_product(
    problem: Eigenproblem, layer: jax.Array, pulled: jax.Array
) -> Callable[[jax.Array], jax.Array]:
    """Returns the map v_NC -> Θ_l v."""
    pull_row, push_row = problem.linearised.row_maps(layer)
    missing = len(pulled) - problem.mask_NC.shape[1]

    def product(vector_NC: jax.Array) -> jax.Array:
        filled_NC = jnp.pad(vector_NC, ((0, 0), (0, missing)))
        hidden = jnp.einsum("nc,cn...->n...", filled_NC, pulled)
        image_NC = jnp.einsum("n...,cn...->nc", push_row(pull_row(hidden)), pulled)
        return image_NC[:, : vector_NC.shape[1]]

    return product


def layer_jacobian(problem: Eigenproblem, layer: jax.Array, pulled: jax.Array) -> jax.Array:
    """Returns J_l, [N·C, P], of P parameters."""
    parts = _factors(problem, layer, pulled)
    pairs = zip(parts.activations, parts.output_gradients, strict=True)
    maps = [factors.gradient_of_linear_map(*pair) for pair in pairs]
    jacobian = jnp.concatenate([*maps, _flat(parts.others_CP)], axis=1)
    examples, count = problem.mask_NC.shape
    jacobian = jacobian.reshape(examples, len(pulled), jacobian.shape[1])
    return jacobian[:, :count].reshape(examples * count, jacobian.shape[2])


def layer_gram(problem: Eigenproblem, layer: jax.Array, pulled: jax.Array) -> jax.Array:
    """Returns Θ_l = J_l J_lᵀ, [N·C, N·C]."""
    parts = _factors(problem, layer, pulled)
    total = _flat(parts.others_CP) @ _flat(parts.others_CP).T
    for inputs, gradients in zip(parts.activations, parts.output_gradients, strict=True):
        explicit = _is_explicit(inputs.shape, gradients.shape, problem.explicit_bytes)
        total = total + factors.gram_of_linear_map(inputs, gradients, explicit=explicit)
    examples, count = problem.mask_NC.shape
    total = total.reshape(examples, pulled.shape[0], examples, pulled.shape[0])
    return total[:, :count, :, :count].reshape(examples * count, -1)


def layer_trace(problem: Eigenproblem, layer: jax.Array, pulled: jax.Array) -> jax.Array:
    """Returns the trace of Θ_l, []."""

    def squared_length(one: jax.Array) -> jax.Array:
        parts = _factors(problem, layer, one[None])
        total = jnp.sum(parts.others_CP**2)
        for inputs, gradients in zip(parts.activations, parts.output_gradients, strict=True):
            # |Σ_t a_t g_tᵀ|² is Σ_ts (a_t·a_s)(g_t·g_s): no gradient of one example is formed.
            products = jnp.einsum("nti,nsi->nts", inputs, inputs)
            total += jnp.einsum("nts,ncto,ncso->", products, gradients, gradients)
        return total

    return jnp.sum(map_in_chunks(problem, squared_length, pulled))


def _is_explicit(
    activations: tuple[int, ...], output_gradients: tuple[int, ...], most_bytes: float
) -> bool:
    """Decides whether a linear map's gradients are formed for its Gram matrix.

    Args:
      activations: Shape of the map's inputs, [N, T, in].
      output_gradients: Shape of the gradients of its outputs, [N, C, T, out].
      most_bytes: Memory for the gradients of its weights.

    Returns:
      True if they fit and cost fewer operations than the Gram matrix without them.
    """
    examples, tokens, wide = activations
    _, cotangents, _, out = output_gradients
    rows = examples * cotangents
    formed = rows * tokens * wide * out + rows**2 * wide * out
    without = (examples * tokens) ** 2 * wide + (rows * tokens) ** 2 * out
    return 4 * rows * wide * out <= most_bytes and formed <= without


def _factors(problem: Eigenproblem, layer: jax.Array, pulled: jax.Array) -> factors.Factors:
    """Returns a layer's gradients in factors, leading axis N."""
    network = problem.linearised.network
    row, frozen_row = network.rows_at(layer)
    axes = network.context_axes

    def of_example(hidden: jax.Array, context: Any, cotangents_C: jax.Array) -> factors.Factors:
        def output(row: Any) -> jax.Array:
            single = with_example_axis(context, axes)
            return network.block(row, frozen_row, hidden[None], single)[0]

        return factors.factor_gradients(output, row, cotangents_C)

    hidden = units.row_at(problem.linearised.inputs_L, layer)
    return jax.vmap(of_example, in_axes=(0, axes, 1))(hidden, network.context, pulled)


def with_example_axis(context: Any, axes: Any) -> Any:
    """Gives the context of one example a leading axis again, where it has examples."""

    def add(axis: int | None, part: Any) -> Any:
        return part if axis is None else jax.tree.map(lambda leaf: leaf[None], part)

    return jax.tree.map(add, axes, context, is_leaf=lambda leaf: leaf is None)


def _flat(gradients_NCP: jax.Array) -> jax.Array:
    examples, cotangents, size = gradients_NCP.shape
    return gradients_NCP.reshape(examples * cotangents, size)
