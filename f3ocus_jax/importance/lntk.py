"""How strongly does each layer move the network's outputs, or its loss? λ_1 of its kernel."""

import jax

from f3ocus_jax.importance import network as network_lib
from f3ocus_jax.importance.score import Importance, Score, shares
from f3ocus_jax.importance.spectrum import layerwise_ntk
from f3ocus_jax.models import head as head_lib, losses
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Batch, Params, Rows


def make_lntk(
    model: Model,
    *,
    unit: str,
    loss: str,
    kernel: str,
    method: str,
    memory_limit: float,
    tolerance: float,
    max_iterations: int,
    warm_start: bool = False,
    **_: object,
) -> Score:
    """Makes the function that scores all layers of one client.

    Args:
      model: the model.
      unit: a key of `trainable.UNITS`, what a layer's parameters are.
      loss: a key of `losses.LOSSES`, of which the loss kernel is.
      kernel: "outputs" for J Jᵀ over all answers, [N·C, N·C], or "loss" for the kernel of the
        examples' losses, [N, N].
      method: a key of `methods.METHODS`, or "auto".
      memory_limit: bytes, as `spectrum.layerwise_ntk` takes it.
      tolerance: relative Lanczos residual at which an eigenvalue is accepted.
      max_iterations: Lanczos iterations at most.
      warm_start: whether eigenvectors are returned, and those of the last round taken.

    Returns:
      score(frozen, rows_L, head, batch, key) -> Importance. `batch` holds the N probe examples;
      masked ones do not count, nor do outputs of another task. `key` draws the start vector. With
      `warm_start` a sixth argument holds the last eigenvectors of the same examples, [L, N, C], 0
      where there are none.
    """
    on_loss = kernel == "loss"
    read = network_lib.loss_of(loss) if on_loss else network_lib.outputs

    def mask(batch: Batch, network: network_lib.Network) -> jax.Array:
        if on_loss:
            return losses.weights(batch)
        return head_lib.asked(batch, jax.eval_shape(network.readout, network.hidden).shape[-1])

    def score(
        frozen: Params,
        rows_L: Rows,
        head: Params,
        batch: Batch,
        key: jax.Array,
        warm_LNC: jax.Array | None = None,
    ) -> Importance:
        network = network_lib.of_model(model, unit, frozen, rows_L, head, batch, read=read)
        found = layerwise_ntk(
            network,
            mask=mask(batch, network),
            method=method,
            memory_limit=memory_limit,
            tolerance=tolerance,
            max_iterations=max_iterations,
            key=key,
            warm_LNC=warm_LNC,
        )
        return Importance(
            scores_L=shares(found.values_LM[:, 0]),
            values_L=found.values_LM[:, 0],
            residuals_L=found.residuals_LM[:, 0],
            iterations_L=found.iterations_LM[:, 0],
            converged_L=found.converged_LM[:, 0],
            vectors_LNC=found.vectors_LMNC[:, 0] if warm_start else None,
        )

    return score
