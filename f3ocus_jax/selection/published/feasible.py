"""Random feasible choices and the repair of infeasible ones, for the published metaheuristics.

The publications search strings of bits or vectors of reals without budgets. A repair operator
makes every solution feasible before it is evaluated: a client takes the layers of its largest
keys, as many as its budget, its capacity and its forbidden layers allow (random keys, J. C. Bean:
Genetic algorithms and random keys for sequencing and optimization. ORSA Journal on Computing 6(2),
1994). For a string of bits, a key is the bit plus a random number below 1, so that a client with
too many picks drops random ones, and one with too few adds random ones. Where layers have bounds,
a client whose picks would break one takes its row of the most important feasible choice. A layer
that too few clients would share is filled or emptied by the same keys (`sharing.py`).
"""

import jax
import jax.numpy as jnp

from f3ocus_jax.selection import (
    choices as choices_lib,
    problem as problem_lib,
    random_keys,
    sharing,
)
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.problem import Limits, Problem


def random_population(key: jax.Array, problem: Problem, size: int, seeds_PKL: jax.Array) -> Choices:
    """Draws the first generation at random, as all five publications do.

    Args:
      key: Random key.
      problem: Problem of this round.
      size: P.
      seeds_PKL: Unused; the last round's front is no part of the publications.

    Returns:
      P feasible choices.
    """
    del seeds_PKL
    return repair(problem, jax.random.uniform(key, (size, *problem.scores_KL.shape)))


def random_position(key: jax.Array, choices: Choices, layers: int) -> jax.Array:
    """Draws a position that decodes to each choice.

    Args:
      key: Random key.
      choices: P feasible choices.
      layers: L.

    Returns:
      keys_PKL: float32 in [0, 1), at least 1/2 for a picked layer and below it for any other.
    """
    masks_PKL = choices_lib.unpack(choices.words_PKW, layers)
    return (masks_PKL + jax.random.uniform(key, masks_PKL.shape)) / 2


def repair(problem: Problem, keys_PKL: jax.Array) -> Choices:
    """Turns keys into feasible choices, counted from scratch.

    Args:
      problem: Problem of this round.
      keys_PKL: float32, a client prefers layers with larger keys.

    Returns:
      P choices.
    """
    words_PKW = random_keys.take_largest(keys_PKL, problem)
    if problem.limits is not None and problem.limits.joint:
        masks_PKL = choices_lib.unpack(words_PKW, keys_PKL.shape[2])
        words_PKW = choices_lib.pack(within_limits(problem, problem.limits, masks_PKL, keys_PKL))
    return choices_lib.from_words(words_PKW, problem.scores_KL)


def repair_bits(key: jax.Array, problem: Problem, bits_PKL: jax.Array) -> Choices:
    """Repairs strings of bits: random picks are dropped or added.

    Args:
      key: Random key.
      problem: Problem of this round.
      bits_PKL: bool.

    Returns:
      P choices.
    """
    return repair(problem, bits_PKL + jax.random.uniform(key, bits_PKL.shape))


def within_limits(
    problem: Problem, limits: Limits, masks_PKL: jax.Array, keys_PKL: jax.Array
) -> jax.Array:
    """Repairs choices for the limits that join clients.

    Args:
      problem: Problem of this round.
      limits: Its limits, with bounds, sharers or both.
      masks_PKL: bool, rows within their clients' own limits.
      keys_PKL: float32, finite; a client prefers layers with larger keys.

    Returns:
      bool [P, K, L]; the most important feasible choice where too few clients would share a layer
      and nothing else is found.
    """
    if limits.sharers is None:
        return within_bounds(limits, masks_PKL)
    repair = jax.vmap(sharing.repair, in_axes=(None, 0, 0, None))
    repaired_PKL, kept_P = repair(problem, masks_PKL, keys_PKL, 0.0)
    return jnp.where(kept_P[:, None, None], repaired_PKL, limits.start_KL[None])


def within_bounds(limits: Limits, masks_PKL: jax.Array) -> jax.Array:
    """Replaces rows that break a layer's bounds, starting from the most important choice.

    Args:
      limits: Limits with bounds.
      masks_PKL: bool, rows within their clients' own limits.

    Returns:
      bool [P, K, L]; client after client takes its new row if that satisfies all bounds.
    """
    start_L = jnp.sum(limits.start_KL, axis=0, dtype=jnp.int32)
    start_PL = jnp.broadcast_to(start_L[None], (len(masks_PKL), len(start_L)))

    def visit(
        histogram_PL: jax.Array, client: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        old_L, new_PL = client
        changed_PL = histogram_PL - old_L[None] + new_PL
        fits_P1 = problem_lib.in_bounds(limits, changed_PL)[:, None]
        row_PL = jnp.where(fits_P1, new_PL, old_L[None])
        return jnp.where(fits_P1, changed_PL, histogram_PL), row_PL

    rows_KPL = jnp.moveaxis(masks_PKL, 1, 0)
    return jnp.moveaxis(jax.lax.scan(visit, start_PL, (limits.start_KL, rows_KPL))[1], 0, 1)
