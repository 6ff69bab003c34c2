"""Which layers without a search? Every client's own most important ones, whatever the score.

With the score "lntk" this is the paper's method LNTK, with "random" federated dropout, with "last"
Last-k, and so on for every baseline.
"""

import jax
import jax.numpy as jnp

from f3ocus_jax.selection import problem as problem_lib
from f3ocus_jax.selection.problem import Limits
from f3ocus_jax.selection.selector import Select, Selection, answer


def create(*, population: int, **_: object) -> Select:
    """Makes the selector.

    Args:
      population: P, for a front of the same shape as a search has; one row of it is in use.

    Returns:
      A jitted `Select`.
    """

    @jax.jit
    def select(
        key: jax.Array,
        scores_KL: jax.Array,
        budgets_K: jax.Array,
        seeds_PKL: jax.Array,
        limits: Limits | None = None,
    ) -> Selection:
        del key, seeds_PKL
        problem = problem_lib.create(scores_KL, budgets_K, limits)
        front_mask_PKL = jnp.zeros((population, *scores_KL.shape), bool)
        front_mask_PKL = front_mask_PKL.at[0].set(problem_lib.own_choice(problem))
        return answer(front_mask_PKL, problem, scores_KL, pick="index", pick_value=0)

    return select
