"""LNTK: the largest eigenvalue of each layer's neural tangent kernel (F³OCUS, section 3.2)."""

import dataclasses

import jax

from f3ocus_jax.config import Section, setting
from f3ocus_jax.importance import network as network_lib
from f3ocus_jax.importance.lanczos import ACCEPTS, RESIDUAL
from f3ocus_jax.importance.methods import METHODS
from f3ocus_jax.importance.plan import AUTO
from f3ocus_jax.importance.score import Importance, Score, ScoreContext, fractions
from f3ocus_jax.importance.spectrum import layerwise_ntk
from f3ocus_jax.models import head as head_lib, losses
from f3ocus_jax.types import Batch, Params, Rows

OUTPUTS, LOSS = "outputs", "loss"
"""Kernels."""


@dataclasses.dataclass(frozen=True)
class LntkOptions(Section):
    """Options of LNTK."""

    kernel: str = setting(
        OUTPUTS,
        'Kernel: "outputs" for J Jᵀ over all answers of all examples, [n·k, n·k], "loss" for that '
        "of the examples' losses, [n, n].",
        choices=(OUTPUTS, LOSS),
    )
    method: str = setting(
        AUTO,
        'Method that finds eigenvalues (docs/importance.md); "auto" takes the one with the fewest '
        "counted operations.",
        choices=(AUTO, *METHODS),
    )
    memory_limit: int = setting(
        2**32,
        'Memory beside the parameters that "auto" stays within where it can.',
        at_least=0,
        unit="bytes",
        bits=64,
    )
    tolerance: float = setting(
        1e-4, "Relative Lanczos residual at which an eigenvalue is accepted.", above=0, below=1
    )
    accept: str = setting(
        RESIDUAL,
        'Error that the tolerance applies to: "residual", a bound, or "estimate", residual² over '
        "the gap to the second Ritz value, with fewer products; wrong where a second eigenvector "
        "appears late (docs/importance.md). Records hold it as the residual.",
        choices=ACCEPTS,
    )
    max_iterations: int = setting(
        64,
        "Lanczos iterations after which an eigenvalue is reported as not converged.",
        at_least=1,
        at_most=100_000,
    )
    warm_start: bool = setting(
        False,
        "If True, every client keeps its probe examples for the whole run, and each search for "
        "their eigenvectors starts from the last round's.",
    )


def make_lntk(context: ScoreContext, options: LntkOptions) -> Score:
    """Makes the function that scores all layers of one client.

    Args:
      context: Model, unit and loss.
      options: Kernel, and the method that finds its eigenvalues.

    Returns:
      score(frozen, rows_L, head, batch, key) -> Importance. `batch` holds the N probe examples;
      masked ones do not count, nor do outputs of another task. `key` draws the start vector. With
      `options.warm_start` a sixth argument holds the last eigenvectors of the same examples,
      [L, N, C], 0 where there are none.
    """
    model, on_loss = context.model, options.kernel == LOSS
    read = network_lib.make_loss_readout(context.loss) if on_loss else network_lib.read_logits

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
        network = network_lib.make_network(
            model, context.unit, frozen, rows_L, head, batch, read=read
        )
        found = layerwise_ntk(
            network,
            mask=mask(batch, network),
            method=options.method,
            memory_limit=options.memory_limit,
            tolerance=options.tolerance,
            max_iterations=options.max_iterations,
            accept=options.accept,
            key=key,
            warm_LNC=warm_LNC,
        )
        return Importance(
            scores_L=fractions(found.values_LM[:, 0]),
            values_L=found.values_LM[:, 0],
            residuals_L=found.residuals_LM[:, 0],
            iterations_L=found.iterations_LM[:, 0],
            converged_L=found.converged_LM[:, 0],
            vectors_LNC=found.vectors_LMNC[:, 0] if options.warm_start else None,
        )

    return score
