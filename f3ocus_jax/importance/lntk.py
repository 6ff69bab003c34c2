"""How strongly does each layer move the network's outputs, or its loss? λ_1 of its kernel."""

import jax

from f3ocus_jax.importance import network as network_lib
from f3ocus_jax.importance.score import Importance, Score, shares
from f3ocus_jax.importance.spectrum import layerwise_ntk
from f3ocus_jax.models import head as head_lib, losses
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Batch, Params, Rows


def create(
    model: Model,
    *,
    unit: str,
    loss: str,
    kernel: str,
    method: str,
    memory_limit: float,
    tolerance: float,
    max_iterations: int,
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

    Returns:
      score(frozen, rows_L, head, batch, key) -> Importance. `batch` holds the N probe examples;
      masked ones do not count, nor do outputs of another task. `key` draws the start vector.
    """
    on_loss = kernel == "loss"
    read = network_lib.loss_of(loss) if on_loss else network_lib.outputs

    def mask(batch: Batch, network: network_lib.Network) -> jax.Array:
        if on_loss:
            return losses.weights(batch)
        return head_lib.asked(batch, jax.eval_shape(network.readout, network.hidden).shape[-1])

    def score(
        frozen: Params, rows_L: Rows, head: Params, batch: Batch, key: jax.Array
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
        )
        values_L, residuals_L = found.values_LM[:, 0], found.residuals_LM[:, 0]
        return Importance(shares(values_L), values_L, residuals_L, found.iterations_LM[:, 0])

    return score
