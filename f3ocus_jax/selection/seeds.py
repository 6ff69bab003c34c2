"""First generation of a search: own choices, the last front, and blends with an even deal."""

import jax
import jax.numpy as jnp

from f3ocus_jax.selection import (
    choices as choices_lib,
    local_search,
    pareto,
    problem as problem_lib,
    sharing,
)
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.local_search import Block
from f3ocus_jax.selection.problem import Limits, Problem

SWEEPS = 3
"""Number of swaps per client on the way to a first generation within bounds."""


def even_choice(problem: Problem) -> jax.Array:
    """Deals layers to clients as evenly as the budgets allow.

    Args:
      problem: Problem of this round.

    Returns:
      mask_KL: bool, every row within its client's own limits. Each client in turn takes the layers
      picked least so far and, among those, the more important ones.
    """

    layers = problem.scores_KL.shape[1]

    def deal(histogram_L: jax.Array, client: tuple) -> tuple[jax.Array, jax.Array]:
        number, index_L = client
        row_L = problem_lib.take_first(
            problem, number, pareto.sorted_index(histogram_L * layers + index_L)
        )
        return histogram_L + row_L, row_L

    index_KL = pareto.sorted_index_in_rows(-problem.scores_KL)
    clients = jnp.arange(len(index_KL)), index_KL
    return jax.lax.scan(deal, jnp.zeros(layers, jnp.int32), clients)[1]


def population(key: jax.Array, problem: Problem, size: int, seeds_PKL: jax.Array) -> Choices:
    """Makes the first generation.

    Args:
      key: Random key.
      problem: Problem of this round.
      size: P.
      seeds_PKL: bool, up to P choices to start from; all-False ones are unused. A row that does not
        fit its client's budget is replaced by the client's own choice.

    Returns:
      P choices. The first is the clients' own, the last the even deal; between them are the seeds
      and, in the remaining slots, blends: the p-th takes each client's row from the even deal with
      probability p / (P − 1). If layers have bounds, all choices are found by local search from
      the most important choice within the bounds. With a least number of sharers, all are repaired;
      what cannot be repaired is the most important choice within all limits, and so is the first.
    """
    own_KW = choices_lib.pack(problem_lib.own_choice(problem))
    if problem.limits is not None and problem.limits.bounds is not None:
        words_PKW = _within_bounds(problem, problem.limits, size)
    else:
        even_KW = choices_lib.pack(even_choice(problem))
        fraction_P1 = jnp.arange(size, dtype=jnp.float32)[:, None] / max(size - 1, 1)
        from_even_PK = jax.random.uniform(key, (size, len(own_KW))) < fraction_P1
        words_PKW = jnp.where(from_even_PK[..., None], even_KW[None], own_KW[None])
    words_PKW = _insert_seeds(words_PKW, seeds_PKL, own_KW, problem)
    choices = choices_lib.from_words(words_PKW, problem.scores_KL)
    if problem.limits is None or problem.limits.sharers is None:
        return choices
    start_1KW = choices_lib.pack(problem.limits.start_KL)[None]
    start = choices_lib.from_words(start_1KW, problem.scores_KL)
    copies = choices_lib.take(start, jnp.zeros(size, jnp.int32))
    repaired = sharing.repair_choices(problem, choices, copies, _prices(problem, size))
    return choices_lib.where(jnp.arange(size) == 0, copies, repaired)


def _within_bounds(problem: Problem, limits: Limits, size: int) -> jax.Array:
    """Improves P copies of the most important choice at prices from zero to high.

    Rows of different choices cannot be blended here: together they might violate a bound.
    """
    clients, layers = limits.start_KL.shape
    mask_KLP = jnp.broadcast_to(limits.start_KL[..., None], (clients, layers, size))
    histogram_L = jnp.sum(limits.start_KL, axis=0, dtype=jnp.int32)
    block = Block(
        mask_KLP,
        problem.scores_KL,
        jnp.broadcast_to(histogram_L[:, None], (layers, size)),
        jnp.zeros(size),
        limits,
    )
    prices_P = _prices(problem, size)
    for _ in range(SWEEPS):
        block = local_search.climb(block, prices_P)
    return jnp.moveaxis(choices_lib.pack(block.rows_JLP, axis=1), -1, 0)


def _prices(problem: Problem, size: int) -> jax.Array:
    """Returns P prices of one unit of Σ_l n_l², from zero to the highest score."""
    highest = jnp.max(jnp.abs(problem.scores_KL))
    return highest * jnp.concatenate([jnp.zeros(1), jnp.geomspace(1e-4, 1.0, size - 1)])


def _insert_seeds(
    words_PKW: jax.Array, seeds_PKL: jax.Array, own_KW: jax.Array, problem: Problem
) -> jax.Array:
    """Writes the seeds in use to slots 1 … P − 2."""
    seeds_PKW = choices_lib.pack(seeds_PKL)[: max(len(words_PKW) - 2, 0)]
    used_P = jnp.any(seeds_PKW != 0, axis=(1, 2))
    fits_PK = problem_lib.rows_fit(problem, seeds_PKW)
    fitting_PKW = jnp.where(fits_PK[..., None], seeds_PKW, own_KW[None])
    slots = slice(1, 1 + len(seeds_PKW))
    if problem.limits is not None and problem.limits.bounds is not None:
        counts_PL = choices_lib.from_words(seeds_PKW, problem.scores_KL).histogram_PL
        used_P &= jnp.all(fits_PK, axis=1) & problem_lib.in_bounds(problem.limits, counts_PL)
    kept_PKW = jnp.where(used_P[:, None, None], fitting_PKW, words_PKW[slots])
    return words_PKW.at[slots].set(kept_PKW)
