"""Selection problem of one round: scores, budgets, limits, and each client's own choice."""

import functools

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import choices as choices_lib, pareto


@struct.dataclass
class Bounds:
    """Bounds on the number of clients that pick a layer.

    Attributes:
      least_L: int32, minimum coverage of each layer.
      most_L: int32, cap of each layer.
    """

    least_L: jax.Array
    most_L: jax.Array


@struct.dataclass
class Costs:
    """Budgets in bytes or FLOPs instead of layers.

    Attributes:
      costs_L: float32 > 0, cost of each layer, in any unit.
      capacity_K: float32, largest total cost of a client's layers, in the same unit.
    """

    costs_L: jax.Array
    capacity_K: jax.Array


@struct.dataclass
class Limits:
    """Limits beyond the paper's problem, made and checked by `limits.make_limits`.

    Attributes:
      allowed_KL: bool, layers a client may train; none for a client that is absent.
      start_KL: bool, the most important choice within all limits.
      bounds: Bounds per layer; None if any number of clients may pick a layer.
      costs: Costs and capacities; None if budgets count layers.
      sharers: int32 scalar, least number of clients of a layer that anybody picks; in a block of
        the local search int32 [P], one number per choice. None if one client may be alone.
    """

    allowed_KL: jax.Array
    start_KL: jax.Array
    bounds: Bounds | None
    costs: Costs | None
    sharers: jax.Array | None = None

    @property
    def joint(self) -> bool:
        """True if a limit joins clients, so that rows of two choices cannot be mixed freely."""
        return self.bounds is not None or self.sharers is not None


@struct.dataclass
class Problem:
    """One round's selection problem, all of it traced, so that a new round never recompiles.

    Attributes:
      scores_KL: float32, importance of every layer to every client, higher is better; finite.
      budgets_K: int32, number of layers each client trains; 0 if it is absent.
      limits: Limits of the round; None for the paper's problem.
    """

    scores_KL: jax.Array
    budgets_K: jax.Array
    limits: Limits | None = None


def make_problem(
    scores_KL: jax.Array, budgets_K: jax.Array, limits: Limits | None = None
) -> Problem:
    """Makes a problem from the clients' scores.

    Args:
      scores_KL: float [K, L]; a score that is not finite ranks below all others.
      budgets_K: int [K], 1 … L; unused if the limits have costs.
      limits: Limits beyond the paper's.

    Returns:
      Problem.
    """
    scores_KL = jnp.asarray(scores_KL, jnp.float32)
    finite_KL = jnp.isfinite(scores_KL)
    lowest = jnp.min(jnp.where(finite_KL, scores_KL, jnp.inf))
    highest = jnp.max(jnp.where(finite_KL, scores_KL, -jnp.inf))
    worthless = jnp.where(jnp.any(finite_KL), 2.0 * lowest - highest - 1.0, 0.0)
    budgets_K = jnp.asarray(budgets_K, jnp.int32)
    if limits is not None:
        budgets_K = jnp.where(jnp.any(limits.allowed_KL, axis=1), budgets_K, 0)
    return Problem(jnp.where(finite_KL, scores_KL, worthless), budgets_K, limits)


def own_choice(problem: Problem) -> jax.Array:
    """Takes every client's own most important layers (the method LNTK).

    Args:
      problem: Problem of this round; limits that join clients are ignored.

    Returns:
      mask_KL: bool, as many layers per row as the budget says or, if layers have costs, every layer
      that still fits, by descending importance; among equal scores the lower layers come first.
    """
    index_KL = pareto.sorted_index_in_rows(-problem.scores_KL)
    clients = jnp.arange(len(index_KL))
    return jax.vmap(functools.partial(take_first, problem))(clients, index_KL)


def take_first(problem: Problem, client: jax.Array, index_L: jax.Array) -> jax.Array:
    """Takes layers in a given order, as far as the client's own limits allow.

    Args:
      problem: Problem of this round.
      client: int32, index of the client.
      index_L: int32, every layer's index in the order.

    Returns:
      row_L: bool.
    """
    budget = problem.budgets_K[client]
    if problem.limits is None:
        return index_L < budget
    order_L = jnp.zeros_like(index_L).at[index_L].set(jnp.arange(len(index_L)))
    allowed_L = problem.limits.allowed_KL[client][order_L]
    empty_L = jnp.zeros(len(order_L), bool)
    if problem.limits.costs is None:
        return empty_L.at[order_L].set(allowed_L & (jnp.cumsum(allowed_L) <= budget))
    costs = problem.limits.costs

    def offer(left: jax.Array, layer: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        cost, allowed = layer
        taken = allowed & (cost <= left)
        return left - jnp.where(taken, cost, 0.0), taken

    layers = costs.costs_L[order_L], allowed_L
    _, taken_L = jax.lax.scan(offer, costs.capacity_K[client], layers)
    return empty_L.at[order_L].set(taken_L)


def rows_fit(problem: Problem, words_PKW: jax.Array) -> jax.Array:
    """Marks rows that satisfy their clients' own limits.

    Args:
      problem: Problem of this round.
      words_PKW: uint32, choices packed by `choices.pack`.

    Returns:
      bool [P, K].
    """
    limits = problem.limits
    picks_PK = jnp.sum(jax.lax.population_count(words_PKW), axis=2, dtype=jnp.int32)
    full_PK = picks_PK == problem.budgets_K[None]
    if limits is None:
        return full_PK
    forbidden_KW = choices_lib.pack(~limits.allowed_KL)
    allowed_PK = jnp.all((words_PKW & forbidden_KW[None]) == 0, axis=2)
    if limits.costs is None:
        return full_PK & allowed_PK
    costs_L, capacity_K = limits.costs.costs_L, limits.costs.capacity_K
    masks_PKL = choices_lib.unpack(words_PKW, len(costs_L))
    spent_PK = jnp.sum(jnp.where(masks_PKL, costs_L[None, None], 0.0), axis=2)
    present_K = jnp.any(limits.allowed_KL, axis=1)
    return allowed_PK & ((picks_PK > 0) == present_K[None]) & (spent_PK <= capacity_K[None])


def in_bounds(limits: Limits | None, histogram_PL: jax.Array) -> jax.Array:
    """Marks choices that satisfy every layer's coverage, cap and number of sharers, bool [P]."""
    kept_P = jnp.ones(len(histogram_PL), bool)
    if limits is not None and limits.bounds is not None:
        least_1L, most_1L = limits.bounds.least_L[None], limits.bounds.most_L[None]
        kept_P &= jnp.all((histogram_PL >= least_1L) & (histogram_PL <= most_1L), axis=1)
    if limits is not None and limits.sharers is not None:
        sharers_P1 = jnp.broadcast_to(limits.sharers, kept_P.shape)[:, None]
        kept_P &= jnp.all((histogram_PL == 0) | (histogram_PL >= sharers_P1), axis=1)
    return kept_P
