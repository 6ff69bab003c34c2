"""Which layers without a search? Every client's own most important ones, whatever the score.

With the score "lntk" this is the paper's method LNTK, with "random" federated dropout, with "last"
Last-k, and so on for every baseline.
"""

import jax
import jax.numpy as jnp

from f3ocus_jax.selection import problem as problem_lib, selector
from f3ocus_jax.selection.problem import Problem
from f3ocus_jax.selection.selector import Select


def create(*, population: int, **_: object) -> Select:
    """Makes the selector.

    Args:
      population: P, for a front of the same shape as a search has; one row of it is in use.

    Returns:
      A jitted `Select`.
    """

    def find(key: jax.Array, problem: Problem, seeds_PKL: jax.Array) -> jax.Array:
        del key, seeds_PKL
        masks_PKL = jnp.zeros((population, *problem.scores_KL.shape), bool)
        return masks_PKL.at[0].set(problem_lib.own_choice(problem))

    return selector.create(find, pick="index", pick_value=0)
