"""Which layers without a search? The clients' own choice, random layers, the last layers."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from f3ocus_jax.selection import problem as problem_lib
from f3ocus_jax.selection.problem import Limits, Problem
from f3ocus_jax.selection.selector import Select, Selection, answer

Policy = Callable[[jax.Array, Problem], jax.Array]
"""(key, problem) -> mask_KL, exactly the budget in every row."""


def own_layers(key: jax.Array, problem: Problem) -> jax.Array:
    """Takes every client's most important layers (LNTK; every other score in its place)."""
    del key
    return problem_lib.own_choice(problem)


def random_layers(key: jax.Array, problem: Problem) -> jax.Array:
    """Takes layers uniformly at random (federated dropout, Wen et al. 2021)."""
    draws_KL = jax.random.uniform(key, problem.scores_KL.shape)
    return problem_lib.own_choice(dataclasses.replace(problem, scores_KL=draws_KL))


def last_layers(key: jax.Array, problem: Problem) -> jax.Array:
    """Takes the layers nearest the output (Last-k)."""
    del key
    depth_KL = jnp.broadcast_to(
        jnp.arange(problem.scores_KL.shape[1])[None], problem.scores_KL.shape
    )
    return problem_lib.own_choice(dataclasses.replace(problem, scores_KL=depth_KL))


def create(policy: Policy, *, population: int, **_: object) -> Select:
    """Makes a selector that applies a policy.

    Args:
      policy: who trains what.
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
        del seeds_PKL
        problem = problem_lib.create(scores_KL, budgets_K, limits)
        front_mask_PKL = jnp.zeros((population, *scores_KL.shape), bool)
        front_mask_PKL = front_mask_PKL.at[0].set(policy(key, problem))
        return answer(front_mask_PKL, problem, scores_KL, pick="index", pick_value=0)

    return select
