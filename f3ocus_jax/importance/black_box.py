"""Layerwise kernels of an arbitrary function or an `nnx` module, every product through all of it.

`spectrum.layerwise_ntk` is several times faster, since it knows the input and output of each layer.
"""

import dataclasses
import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import jax.numpy as jnp

from f3ocus_jax.importance import methods
from f3ocus_jax.importance.eigenproblem import Eigenproblem
from f3ocus_jax.importance.lanczos import Eigenpair
from f3ocus_jax.importance.network import to_float32
from f3ocus_jax.importance.spectrum import (
    AUTO,
    MEMORY_LIMIT,
    Spectrum,
    make_eigenproblem,
    make_spectrum,
)

if TYPE_CHECKING:
    from flax import nnx

METHODS = ("gram", "lanczos")

MOST_OUTPUTS = 512
"""Number of outputs beyond which the Gram matrix costs more pull-backs than Lanczos takes."""

Apply: TypeAlias = Callable[[Any, Any], jax.Array]
"""(layers, batch) -> outputs, [N, ...]."""


def layerwise_ntk_of(
    model: "Apply | nnx.Module",
    layers: Any,
    batch: Any,
    *,
    mask: jax.Array | None = None,
    count: int = 1,
    method: str = AUTO,
    memory_limit: float = MEMORY_LIMIT,
    tolerance: float = 1e-4,
    max_iterations: int = 64,
    key: jax.Array | None = None,
) -> Spectrum:
    """Computes the top eigenvalues of every layer's kernel of any model (F³OCUS, section 3.2).

    The model is a function of its layers' parameters, such as a Flax model whose blocks are stacked
    and scanned:

    >>> import flax.linen as nn
    >>> block, batch = nn.Sequential([nn.Dense(8), nn.tanh]), jnp.eye(4, 8)
    >>> keys_L = jax.random.split(jax.random.key(0), 3)
    >>> rows_L = jax.vmap(lambda key: block.init(key, batch))(keys_L)
    >>> def apply(rows_L, batch):
    ...     return jax.lax.scan(lambda h, row: (h + block.apply(row, h), None), batch, rows_L)[0]
    >>> found = layerwise_ntk_of(apply, rows_L, batch)
    >>> jacobian = jax.jacrev(apply)(rows_L, batch)["params"]["layers_0"]
    >>> J = jnp.concatenate([jacobian[name][:, :, 1].reshape(32, -1) for name in jacobian], axis=1)
    >>> bool(jnp.isclose(found.values_LM[1, 0], jnp.linalg.eigvalsh(J @ J.T)[-1], rtol=1e-4))
    True
    >>> bool(found.converged_LM.all())
    True

    Or it is an `nnx` module, whose layers are named by their paths and may have different shapes:

    >>> from flax import nnx
    >>> rngs = nnx.Rngs(0)
    >>> first, last = nnx.Linear(8, 16, rngs=rngs), nnx.Linear(16, 2, rngs=rngs)
    >>> module = nnx.Sequential(first, nnx.tanh, last)
    >>> layerwise_ntk_of(module, ["layers/0", "layers/2"], batch).values_LM.shape
    (2, 1)

    Args:
      model: Function (layers, batch) -> outputs, [N, ...], or an `nnx.Module`, which is called with
        the batch: `module(batch)`, or `module(*batch)` if the batch is a tuple. Examples may
        interact. Of a module, `nnx.Param` and `nnx.LoRAParam` are parameters; all else is constant.
      layers: Parameters of the layers. For a function, a pytree whose leaves have a leading layer
        axis L. For a module, a list of the layers'
        paths, such as "blocks/0/mlp"; or a function of a parameter's path, such as ("blocks", 0,
        "mlp", "kernel"), that returns the index of its layer, or None for none; or the one path of
        modules that `nnx.vmap` has stacked on a leading layer axis.
      batch: Input of the model.
      mask: Mask of the outputs, of their first axes, as in `spectrum.layerwise_ntk`.
      count: M, eigenvalues per layer, from 1 to N·C for C outputs per example.
      method: "lanczos", "gram", or "auto" for the Gram matrix if there are few outputs.
      memory_limit: Bytes that the gradients of all outputs may take under "auto".
      tolerance: Relative residual at which an eigenvalue is accepted, above 0.
      max_iterations: Kernel products after which an eigenvalue is returned as not converged.
      key: Typed random key of the start vectors; `jax.random.key(0)` if None.

    Returns:
      Eigenvalues of all layers, float32.

    Raises:
      ValueError: If the method is unknown, `count` is not between 1 and N·C, or a layer of a module
        has no parameters or shares one with another layer.
    """
    if method not in (AUTO, *METHODS):
        raise ValueError(f"method {method!r} is unknown; choose auto, {', '.join(METHODS)}")
    apply, parameters, is_stacked = _split(model, layers)
    with jax.default_matmul_precision("highest"):
        function = LinearisedFunction(
            lambda parameters: apply(parameters, batch), parameters, is_stacked=is_stacked
        )
        problem = make_eigenproblem(function, mask, count, tolerance, max_iterations, key, None)
        if method == AUTO:
            size = function.outputs.size
            fits = 4.0 * size * _parameter_count(parameters) <= memory_limit
            method = "gram" if size <= MOST_OUTPUTS and fits else "lanczos"
        solve = _gram_method if method == "gram" else methods.lanczos_method
        return make_spectrum(solve(problem), tolerance)


class LinearisedFunction:
    """The derivative of a function in its layers' parameters; made and used within one trace.

    Parameters are one stack with a leading layer axis, or a list of L pytrees.

    Attributes:
      outputs: Outputs of the function, float32.
      num_layers: L.
    """

    def __init__(
        self, function: Callable[[Any], jax.Array], parameters: Any, *, is_stacked: bool
    ) -> None:
        parameters = to_float32(parameters)
        self._is_stacked = is_stacked
        self.num_layers = len(jax.tree.leaves(parameters)[0]) if is_stacked else len(parameters)
        self.outputs, self._push = jax.linearize(
            lambda parameters: function(parameters).astype(jnp.float32), parameters
        )
        self._pull = jax.linear_transpose(self._push, parameters)

    def kernel_product(self, layer: jax.Array) -> Callable[[jax.Array], jax.Array]:
        """Returns v -> Θ_l v for one layer, which may be traced; v is shaped as the outputs."""

        def product(vector: jax.Array) -> jax.Array:
            return self._push(self._only(layer, self._pull(vector)[0]))

        return product

    def kernels(self, mask_D: jax.Array) -> jax.Array:
        """Returns Θ_l of every layer, [L, D, D] of D masked outputs."""
        basis = jnp.diag(mask_D).reshape(mask_D.size, *self.outputs.shape)
        gradients = jax.lax.map(lambda vector: self._flat(self._pull(vector)[0]), basis)
        if self._is_stacked:
            gradients_LDP = jnp.swapaxes(gradients, 0, 1)
            return jax.lax.map(lambda gradients_DP: gradients_DP @ gradients_DP.T, gradients_LDP)
        return jnp.stack([gradients_DP @ gradients_DP.T for gradients_DP in gradients])

    def _only(self, layer: jax.Array, tangents: Any) -> Any:
        """Sets the tangents of all other layers to 0."""
        if not self._is_stacked:
            return [
                jax.tree.map(lambda leaf, index=index: jnp.where(layer == index, leaf, 0.0), one)
                for index, one in enumerate(tangents)
            ]

        def only(leaf_L: jax.Array) -> jax.Array:
            is_layer_L = jnp.arange(self.num_layers) == layer
            return jnp.where(is_layer_L.reshape(-1, *(1,) * (leaf_L.ndim - 1)), leaf_L, 0.0)

        return jax.tree.map(only, tangents)

    def _flat(self, gradients: Any) -> Any:
        """Returns every layer's gradient as one vector: [L, P] of a stack, or a list of [P_l]."""
        if self._is_stacked:
            leaves = jax.tree.leaves(gradients)
            return jnp.concatenate([leaf.reshape(self.num_layers, -1) for leaf in leaves], axis=1)
        return [
            jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(one)])
            for one in gradients
        ]


def _split(model: Any, layers: Any) -> tuple[Apply, Any, bool]:
    """Returns (function, parameters of the layers, True if they are one stack)."""
    # Importing nnx takes most of a second, and only who has imported it can pass a module.
    nnx = sys.modules.get("flax.nnx")
    if nnx is None or not isinstance(model, nnx.Module):
        return model, layers, True
    from f3ocus_jax.importance.module_layers import split_module

    return split_module(model, layers)


def _gram_method(problem: Eigenproblem) -> Eigenpair:
    mask_D = problem.mask_NC.reshape(-1)
    starts_MD = problem.starts_MNC.reshape(-1, mask_D.size)

    def solve(kernel_DD: jax.Array) -> Eigenpair:
        return problem.solve_matrix(kernel_DD, starts_MD, problem.random_NC.reshape(-1))[0]

    pairs = jax.lax.map(solve, problem.linearised.kernels(mask_D))
    shaped = pairs.vector.reshape(*pairs.value.shape, *problem.mask_NC.shape)
    return dataclasses.replace(pairs, vector=shaped)


def _parameter_count(layers: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(layers))
