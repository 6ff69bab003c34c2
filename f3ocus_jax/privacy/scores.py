"""Noised LNTK scores: the largest eigenvalue of each layer's kernel of clipped loss gradients.

With the gradients g_il of the examples' losses in layer l, clipped over all layers together to
Σ_l |g_il|² <= C², an example moves the eigenvalues of all L layers by at most C² in the Euclidean
norm, see docs/privacy.md; Gaussian noise is calibrated to that.
"""

from typing import Any

import jax
import jax.numpy as jnp

from f3ocus_jax.importance import Importance, Score, ScoreContext, layer_kernel
from f3ocus_jax.importance.eigenproblem import Eigenproblem, NeighbourStart
from f3ocus_jax.importance.layer_sweep import sweep_layers
from f3ocus_jax.importance.linearised_network import LinearisedNetwork
from f3ocus_jax.importance.network import Network, make_loss_readout, make_network
from f3ocus_jax.importance.score import fractions
from f3ocus_jax.importance.spectrum import make_eigenproblem
from f3ocus_jax.models import losses
from f3ocus_jax.privacy.clipped_gradient import clip_factors
from f3ocus_jax.types import Batch, Params, Rows


def make_private_score(context: ScoreContext, *, clip: float, noise_multiplier: float) -> Score:
    """Makes the function that scores all layers of one client.

    Args:
      context: Model, unit and loss.
      clip: C, largest norm of one example's loss gradient, all layers together.
      noise_multiplier: Standard deviation of the noise of each eigenvalue, divided by C².

    Returns:
      score(frozen, rows_L, head, batch, key) -> Importance. `key` must be a secret of the client.
      Negative values, which only noise can make, are 0; nothing else is told of the kernels.
    """
    read = make_loss_readout(context.loss)

    def score(
        frozen: Params, rows_L: Rows, head: Params, batch: Batch, key: jax.Array
    ) -> Importance:
        network = make_network(context.model, context.unit, frozen, rows_L, head, batch, read=read)
        kernels_LNN = clipped_kernels(network, losses.weights(batch), clip)
        noise_L = jax.random.normal(key, (len(kernels_LNN),), jnp.float32)
        values_L = largest_eigenvalues(kernels_LNN) + noise_multiplier * clip**2 * noise_L
        return _as_importance(jnp.maximum(values_L, 0.0))

    return score


def clipped_kernels(network: Network, mask_N: jax.Array, clip: float) -> jax.Array:
    """Computes the kernel of every layer of clipped gradients.

    Args:
      network: Network whose outputs are the losses of N examples.
      mask_N: 0 for examples that do not count.
      clip: C, largest norm of one example's gradient, all layers together.

    Returns:
      float32 [L, N, N]. An example whose gradient is not finite counts like one that is masked.
    """
    with jax.default_matmul_precision("highest"):
        given: tuple[Any, ...] = (None, 1, 1e-4, 1, None, None)
        problem: Eigenproblem = make_eigenproblem(LinearisedNetwork(network), *given)

        def visit(
            neighbour: NeighbourStart, layer: jax.Array, pulled: jax.Array
        ) -> tuple[NeighbourStart, jax.Array]:
            return neighbour, layer_kernel.layer_gram(problem, layer, pulled)

        kernels_LNN = sweep_layers(problem, visit)
    squares_N = jnp.sum(jnp.diagonal(kernels_LNN, axis1=1, axis2=2), axis=0)
    factors_N = mask_N * clip_factors(jnp.sqrt(squares_N), clip)
    factors_1NN = jnp.outer(factors_N, factors_N)[None]
    return jnp.where(factors_1NN > 0, factors_1NN * kernels_LNN, 0.0)


def largest_eigenvalues(kernels_LNN: jax.Array) -> jax.Array:
    """Returns the largest eigenvalue of every kernel by decomposition, float32 [L].

    An iterative method would stop at an error that depends on the examples.
    """
    return jnp.linalg.eigvalsh(kernels_LNN)[:, -1]


def _as_importance(values_L: jax.Array) -> Importance:
    """Returns scores with the entries that LNTK has, which say nothing of the examples."""
    return Importance(
        scores_L=fractions(values_L),
        values_L=values_L,
        residuals_L=jnp.zeros_like(values_L),
        iterations_L=jnp.zeros(values_L.shape, jnp.int32),
        converged_L=jnp.ones(values_L.shape, bool),
    )
