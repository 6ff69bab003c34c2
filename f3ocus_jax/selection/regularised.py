"""Choices that agree across clients (Sun et al., 2024, arXiv 2408.15600).

The server maximises Σ_i Σ_l m_il s_il − (λ / 2) Σ_i Σ_{j≠i} ‖m_i − m_j‖₁ within every client's
budget. Of K clients, n_l of whom train layer l, n_l (K − n_l) pairs differ in it, so that the
second term is λ Σ_l n_l (K − n_l): a layer is worth the more to a client, the more others train it.

Given the others, a client's best layers are those of the largest s_il + 2 λ n_l, n_l counted over
the others. Clients respond in turn until nobody gains, from starts between the clients' own choices
and one common order of the layers; the best end is taken. Each end is the best for every single
client, and not proven to be the best for all of them together. Where layers have costs, a client
takes what still fits, by descending worth.
"""

import dataclasses

import jax
import jax.numpy as jnp

from f3ocus_jax.selection import choices as choices_lib, pareto, problem as problem_lib, selector
from f3ocus_jax.selection.problem import Problem
from f3ocus_jax.selection.selector import Select, SelectorOptions

STARTS = 16
MOST_SWEEPS = 100
"""More than any run of best responses took; every change raises the objective."""


def make_regularised_selector(options: SelectorOptions) -> Select:
    """Makes a selector of one choice, which is important and alike for all clients.

    Args:
      options: Options of the selector: `disagreement_cost` is λ, and `population` the size of the
        front, which has one row in use.

    Returns:
      A jitted `Select`. It raises a ValueError for limits that join clients.
    """
    population, price = options.population, options.disagreement_cost

    def find(key: jax.Array, problem: Problem, seeds_PKL: jax.Array) -> jax.Array:
        del key, seeds_PKL
        if problem.limits is not None and problem.limits.joint:
            raise ValueError(
                "selection algorithm 'regularised' keeps no coverage, cap or least number of "
                "sharers of a layer; choose another algorithm, or give none"
            )
        best_KW = choices_lib.pack(best_choice(problem, price))
        return jnp.zeros((population, *best_KW.shape), best_KW.dtype).at[0].set(best_KW)

    first = dataclasses.replace(options, pick="index", pick_value=0.0)
    return selector.make_select(find, first)


def best_choice(problem: Problem, price: float) -> jax.Array:
    """Returns the best end of best responses, mask_KL.

    Args:
      problem: Problem of this round, without limits that join clients.
      price: λ, cost of a layer that one of two clients trains and the other does not.
    """

    def play(share: jax.Array) -> tuple[jax.Array, jax.Array]:
        mask_KL = _respond_until_stable(problem, _start(problem, share), price)
        return mask_KL, worth(problem, mask_KL, price)

    masks_PKL, worths_P = jax.lax.map(play, jnp.linspace(0.0, 1.0, STARTS))
    return masks_PKL[jnp.argmax(worths_P)]


def worth(problem: Problem, mask_KL: jax.Array, price: float) -> jax.Array:
    """Returns the objective of a choice: float32 []."""
    counts_L = jnp.sum(mask_KL, axis=0, dtype=jnp.float32)
    present = jnp.sum(problem.budgets_K > 0, dtype=jnp.float32)
    importance = jnp.sum(jnp.where(mask_KL, problem.scores_KL, 0.0))
    return importance - price * jnp.sum(counts_L * (present - counts_L))


def _start(problem: Problem, share: jax.Array) -> jax.Array:
    """Returns own choices (share 0), those of a common order (share 1), or between the two."""
    present_K1 = (problem.budgets_K > 0)[:, None]
    common_L = jnp.mean(problem.scores_KL, axis=0, where=present_K1)
    values_KL = (1 - share) * problem.scores_KL + share * common_L[None]
    return problem_lib.own_choice(dataclasses.replace(problem, scores_KL=values_KL))


def _respond_until_stable(problem: Problem, mask_KL: jax.Array, price: float) -> jax.Array:
    """Lets all clients respond in turn until nobody gains."""
    clients = jnp.arange(len(mask_KL))

    def respond(carry: tuple[jax.Array, jax.Array], client: jax.Array) -> tuple[tuple, None]:
        mask_KL, changed = carry
        row_L, gains = _respond(problem, mask_KL, client, price)
        return (mask_KL.at[client].set(row_L), changed | gains), None

    def sweep(carry: tuple) -> tuple:
        mask_KL, _, sweeps = carry
        (mask_KL, changed), _ = jax.lax.scan(respond, (mask_KL, jnp.bool_(False)), clients)
        return mask_KL, changed, sweeps + 1

    first = (mask_KL, jnp.bool_(True), jnp.int32(0))
    return jax.lax.while_loop(lambda carry: carry[1] & (carry[2] < MOST_SWEEPS), sweep, first)[0]


def _respond(
    problem: Problem, mask_KL: jax.Array, client: jax.Array, price: float
) -> tuple[jax.Array, jax.Array]:
    """Returns (a client's best row for those of the others, True if it gains by a change)."""
    row_L = mask_KL[client]
    others_L = jnp.sum(mask_KL, axis=0, dtype=jnp.float32) - row_L
    present = jnp.sum(problem.budgets_K > 0, dtype=jnp.float32)
    worth_L = problem.scores_KL[client] + price * (2.0 * others_L + 1.0 - present)
    order_L = pareto.sorted_index_in_rows(-worth_L[None])[0]
    best_L = problem_lib.take_first(problem, client, order_L)
    before, after = (jnp.sum(jnp.where(each, worth_L, 0.0)) for each in (row_L, best_L))
    gains = after > before + 1e-6 * (1.0 + jnp.abs(before))
    return jnp.where(gains, best_L, row_L), gains
