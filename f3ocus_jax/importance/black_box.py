"""What are the layers' kernels of a function that shows nothing of its inside?

`spectrum.layerwise_ntk` is several times faster, since it knows where a layer's input and output
are; here every product goes through the whole function.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from f3ocus_jax.importance import lanczos, methods
from f3ocus_jax.importance.network import to_float32
from f3ocus_jax.importance.spectrum import MEMORY_LIMIT, Spectrum, make_task, spectrum_of
from f3ocus_jax.types import Rows

METHODS = ("lanczos", "gram")
MOST_OUTPUTS = 512
"""Beyond as many the Gram matrix costs more backward passes than Lanczos needs."""


class Opaque:
    """The derivative of a function in its stacked parameters; made and used within one trace.

    Attributes:
      outputs: of the function, float32.
      num_layers: L.
    """

    def __init__(self, function: Callable[[Rows], jax.Array], rows_L: Rows) -> None:
        rows_L = to_float32(rows_L)
        self.num_layers = jax.tree.leaves(rows_L)[0].shape[0]
        self.outputs, self._push = jax.linearize(
            lambda rows_L: function(rows_L).astype(jnp.float32), rows_L
        )
        self._pull = jax.linear_transpose(self._push, rows_L)

    def kernel_product(self, layer: jax.Array) -> Callable[[jax.Array], jax.Array]:
        """Returns v -> Θ_l v for one layer, which may be traced; v is shaped as the outputs."""

        def alone(leaf_L: jax.Array) -> jax.Array:
            mine_L = jnp.arange(self.num_layers) == layer
            return jnp.where(mine_L.reshape(-1, *(1,) * (leaf_L.ndim - 1)), leaf_L, 0.0)

        def product(vector: jax.Array) -> jax.Array:
            return self._push(jax.tree.map(alone, self._pull(vector)[0]))

        return product

    def gradients(self, vectors: jax.Array) -> jax.Array:
        """Returns what every vector of outputs pulls back to each layer, [vectors, L, P]."""

        def pull(vector: jax.Array) -> jax.Array:
            leaves = jax.tree.leaves(self._pull(vector)[0])
            return jnp.concatenate([leaf.reshape(self.num_layers, -1) for leaf in leaves], axis=1)

        return jax.lax.map(pull, vectors)


def layerwise_ntk_of(
    apply: Callable[[Rows, Any], jax.Array],
    rows_L: Rows,
    batch: Any,
    *,
    mask: jax.Array | None = None,
    count: int = 1,
    method: str = "auto",
    memory_limit: float = MEMORY_LIMIT,
    tolerance: float = 1e-4,
    max_iterations: int = 64,
    key: jax.Array | None = None,
) -> Spectrum:
    """Finds the top eigenvalues of every layer's kernel of any function.

    A Flax model whose blocks are stacked and scanned:

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

    Args:
      apply: (rows_L, batch) -> outputs, [N, ...]; examples may mix.
      rows_L: parameters with a leading layer axis L.
      batch: whatever `apply` takes.
      mask: as for `spectrum.layerwise_ntk`.
      count: M, eigenvalues per layer.
      method: "lanczos", "gram", or "auto": the Gram matrix of few outputs.
      memory_limit: bytes that "auto" lets the gradients of all outputs take.
      tolerance: relative residual at which an eigenvalue is accepted.
      max_iterations: kernel products after which it is returned as not converged.
      key: draws the start vectors; `jax.random.key(0)` if None.

    Returns:
      The eigenvalues of all layers.

    Raises:
      ValueError: for an unknown method, or a count that is not between 1 and N·C.
    """
    if method not in ("auto", *METHODS):
        raise ValueError(f"method {method!r} is unknown; choose auto, {', '.join(METHODS)}")
    with jax.default_matmul_precision("highest"):
        function = Opaque(lambda rows_L: apply(rows_L, batch), rows_L)
        task = make_task(function, mask, count, tolerance, max_iterations, key, None)
        if method == "auto":
            size, parameters = function.outputs.size, _size(rows_L)
            small = size <= MOST_OUTPUTS and 4.0 * size * parameters <= memory_limit
            method = "gram" if small else "lanczos"
        pairs = _gram(task, function) if method == "gram" else methods.lanczos_method(task)
        return spectrum_of(pairs, task)


def _gram(task: methods.Task, function: Opaque) -> lanczos.Eigenpair:
    size = function.outputs.size
    basis = jnp.diag(task.mask_NC.reshape(-1)).reshape(size, *function.outputs.shape)
    gradients_DLP = function.gradients(basis)

    def solve(gradients_DP: jax.Array) -> lanczos.Eigenpair:
        starts_MD = task.starts_MNC.reshape(-1, size)
        random_D = task.random_NC.reshape(-1)
        return methods.solve_matrix(task, gradients_DP @ gradients_DP.T, starts_MD, random_D)[0]

    pairs = jax.lax.map(solve, jnp.swapaxes(gradients_DLP, 0, 1))
    shaped = pairs.vector.reshape(*pairs.value.shape, *task.mask_NC.shape)
    return dataclasses.replace(pairs, vector=shaped)


def _size(rows_L: Rows) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(rows_L))
