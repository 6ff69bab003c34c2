"""Which layers without a search? Every client's own most important ones, whatever the score.

With the score "lntk" this is the paper's method LNTK, with "random" federated dropout, with "last"
Last-k, and so on for every baseline.
"""

import jax
import jax.numpy as jnp

from f3ocus_jax.selection import choices as choices_lib, problem as problem_lib, selector
from f3ocus_jax.selection.problem import Problem
from f3ocus_jax.selection.selector import Select


def make_own_selector(*, population: int, **_: object) -> Select:
    """Makes the selector.

    Args:
      population: P, for a front of the same shape as a search has; one row of it is in use.

    Returns:
      A jitted `Select`.
    """

    def find(key: jax.Array, problem: Problem, seeds_PKL: jax.Array) -> jax.Array:
        del key, seeds_PKL
        own_KW = choices_lib.pack(problem_lib.own_choice(problem))
        return jnp.zeros((population, *own_KW.shape), own_KW.dtype).at[0].set(own_KW)

    return selector.make_select(find, pick="index", pick_value=0)
