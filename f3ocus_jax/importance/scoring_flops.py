"""Operations of scoring one client's layers, counted from the trace; nothing is computed."""

import jax

from f3ocus_jax.cost.jaxpr_counts import count_flops
from f3ocus_jax.importance import network as network_lib
from f3ocus_jax.importance.lntk import LOSS
from f3ocus_jax.importance.plan import AUTO, KernelPlan
from f3ocus_jax.importance.score import ScoreContext
from f3ocus_jax.importance.settings import ImportanceConfig
from f3ocus_jax.importance.spectrum import make_plan
from f3ocus_jax.models import units
from f3ocus_jax.types import Batch, Params


def scoring_flops(
    context: ScoreContext, settings: ImportanceConfig, params: Params, batch: Batch
) -> float | None:
    """Counts the operations of matrix products in one score of all layers.

    Args:
      context: Parts that scores are made from.
      settings: Settings of the score.
      params: Parameters of the model, or their shapes.
      batch: N probe examples.

    Returns:
      Operations; for LNTK those of its method's plan, which assumes a typical number of Lanczos
      iterations. None for a score whose loops have no known length.
    """
    if settings.score == "lntk":
        return _lntk_flops(context, settings, params, batch)
    measure = settings.make("score", context)
    try:
        return count_flops(measure, *units.split(params, context.unit), batch, jax.random.key(0))
    except ValueError:
        return None


def _lntk_flops(
    context: ScoreContext, settings: ImportanceConfig, params: Params, batch: Batch
) -> float:
    """Adds the forward pass and its linearisation to the operations of the method's plan."""
    options = settings.lntk
    plans: list[KernelPlan] = []
    on_loss = options.kernel == LOSS
    read = network_lib.make_loss_readout(context.loss) if on_loss else network_lib.read_logits

    def linearise(params: Params, batch: Batch) -> jax.Array:
        parts = units.split(params, context.unit)
        network = network_lib.make_network(context.model, context.unit, *parts, batch, read=read)
        # Making the plan traces the forward pass, which is thus counted.
        plans.append(make_plan(network, memory_limit=options.memory_limit))
        return network.hidden

    forward = count_flops(linearise, params, batch)
    (plan,) = plans
    return forward + plan.flops[plan.method if options.method == AUTO else options.method]
