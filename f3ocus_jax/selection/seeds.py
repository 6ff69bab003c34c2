"""Where does the search start? Own choices, the last front, and blends with an even deal."""

import jax
import jax.numpy as jnp

from f3ocus_jax.selection import choices as choices_lib, problem as problem_lib
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.problem import Problem


def even_choice(problem: Problem) -> jax.Array:
    """Deals the layers out, so that they are picked as evenly as the budgets allow.

    Args:
      problem: of this round.

    Returns:
      mask_KL: bool, exactly the budget in every row. Each client in turn takes the layers picked
      least so far, and the more important ones among those.
    """

    def deal(
        histogram_L: jax.Array, client: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        scores_L, budget = client
        order_L = jnp.lexsort((-scores_L, histogram_L))
        row_L = jnp.zeros(len(order_L), bool).at[order_L].set(jnp.arange(len(order_L)) < budget)
        return histogram_L + row_L, row_L

    nobody_L = jnp.zeros(problem.scores_KL.shape[1], jnp.int32)
    return jax.lax.scan(deal, nobody_L, (problem.scores_KL, problem.budgets_K))[1]


def population(key: jax.Array, problem: Problem, size: int, seeds_PKL: jax.Array) -> Choices:
    """Makes the first generation.

    Args:
      key: of the draw.
      problem: of this round.
      size: P.
      seeds_PKL: bool, up to P choices to start from; all-False ones are not in use. A row that does
        not fit its client's budget is replaced by the client's own choice.

    Returns:
      P choices. The first is the clients' own, the last deals the layers out evenly; between them
      are the seeds and, where there are none, blends: the p-th takes each client's row from the
      even deal with probability p / (P − 1).
    """
    own_KW = choices_lib.pack(problem_lib.own_choice(problem))
    even_KW = choices_lib.pack(even_choice(problem))
    share_P1 = jnp.arange(size, dtype=jnp.float32)[:, None] / max(size - 1, 1)
    from_even_PK = jax.random.uniform(key, (size, len(own_KW))) < share_P1
    words_PKW = jnp.where(from_even_PK[..., None], even_KW[None], own_KW[None])
    words_PKW = _insert_seeds(words_PKW, seeds_PKL, own_KW, problem)
    return choices_lib.from_words(words_PKW, problem.scores_KL)


def _insert_seeds(
    words_PKW: jax.Array, seeds_PKL: jax.Array, own_KW: jax.Array, problem: Problem
) -> jax.Array:
    """Puts the seeds in use into places 1 … P − 2."""
    size = len(words_PKW)
    seeds_PKL = seeds_PKL[: max(size - 2, 0)]
    used_P = jnp.any(seeds_PKL, axis=(1, 2))
    fits_PK = jnp.sum(seeds_PKL, axis=2) == problem.budgets_K[None]
    seeds_PKW = jnp.where(fits_PK[..., None], choices_lib.pack(seeds_PKL), own_KW[None])
    places = slice(1, 1 + len(seeds_PKL))
    kept_PKW = jnp.where(used_P[:, None, None], seeds_PKW, words_PKW[places])
    return words_PKW.at[places].set(kept_PKW)
