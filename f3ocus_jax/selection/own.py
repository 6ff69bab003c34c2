"""Each client's own most important layers, without a search, for any score.

With the score "lntk" this is the paper's method LNTK, with "random" federated dropout, with "last"
Last-k, and so on for every baseline.
"""

import dataclasses

import jax
import jax.numpy as jnp

from f3ocus_jax.selection import choices as choices_lib, problem as problem_lib, selector
from f3ocus_jax.selection.problem import Problem
from f3ocus_jax.selection.selector import Select, SelectorOptions


def make_own_selector(options: SelectorOptions) -> Select:
    """Makes a selector that returns the clients' own choices.

    Args:
      options: Options of the selector; only `population`, the size P of the front, has an effect.
        The front has one row in use.

    Returns:
      A jitted `Select`. It raises a ValueError for limits with sharers: a layer that one client has
      to itself must not go unnoticed.
    """
    population = options.population

    def find(key: jax.Array, problem: Problem, seeds_PKL: jax.Array) -> jax.Array:
        del key, seeds_PKL
        if problem.limits is not None and problem.limits.sharers is not None:
            raise ValueError(
                "selection algorithm 'own' lets every client choose by itself, so that nobody sees "
                "to a least number of sharers; choose another algorithm, or give none"
            )
        own_KW = choices_lib.pack(problem_lib.own_choice(problem))
        return jnp.zeros((population, *own_KW.shape), own_KW.dtype).at[0].set(own_KW)

    first = dataclasses.replace(options, pick="index", pick_value=0.0)
    return selector.make_select(find, first)
