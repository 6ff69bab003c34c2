"""Where does the search start? Own choices, the last front, and blends with an even deal."""

import jax
import jax.numpy as jnp

from f3ocus_jax.selection import choices as choices_lib, problem as problem_lib
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.problem import Problem


def even_choice(problem: Problem) -> jax.Array:
    """Deals the layers out in turn, so that they are picked as evenly as the budgets allow.

    Args:
      problem: of this round.

    Returns:
      mask_KL: bool, exactly the budget in every row.
    """
    starts_K = jnp.cumsum(problem.budgets_K) - problem.budgets_K
    return _windows(problem, starts_K)


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
    key_turn, key_blend = jax.random.split(key)
    clients, layers = problem.scores_KL.shape
    turns_P = jax.random.randint(key_turn, (size,), 0, layers).at[-1].set(0)
    starts_K = jnp.cumsum(problem.budgets_K) - problem.budgets_K
    table_KLW = jax.vmap(
        lambda turn: choices_lib.pack(_windows(problem, jnp.full(clients, turn))), out_axes=1
    )(jnp.arange(layers))
    starts_PK = (starts_K[None] + turns_P[:, None]) % layers
    even_PKW = table_KLW[jnp.arange(clients)[None], starts_PK]
    share_P1 = jnp.arange(size, dtype=jnp.float32)[:, None] / max(size - 1, 1)
    from_even_PK = jax.random.uniform(key_blend, (size, clients)) < share_P1
    words_PKW = jnp.where(from_even_PK[..., None], even_PKW, own_KW[None])
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


def _windows(problem: Problem, starts_K: jax.Array) -> jax.Array:
    """Picks, for every client, `budget` consecutive layers from a start on, round the end."""
    layers = problem.scores_KL.shape[1]
    distance_KL = (jnp.arange(layers)[None] - starts_K[:, None]) % layers
    return distance_KL < problem.budgets_K[:, None]
