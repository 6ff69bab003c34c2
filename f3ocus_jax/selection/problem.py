"""What has to be chosen this round? Scores, budgets, limits, and each client's own choice."""

import functools

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import choices as choices_lib, pareto


@struct.dataclass
class Bounds:
    """How many clients may pick a layer.

    Attributes:
      least_L: int32, the minimum coverage.
      most_L: int32, the cap.
    """

    least_L: jax.Array
    most_L: jax.Array


@struct.dataclass
class Costs:
    """Budgets in bytes or FLOPs instead of layers.

    Attributes:
      costs_L: float32 > 0, of one layer, in any unit.
      capacity_K: float32, what a client's layers may cost together, in the same unit.
    """

    costs_L: jax.Array
    capacity_K: jax.Array


@struct.dataclass
class Limits:
    """What the paper's problem leaves out; `limits.make_limits` makes and checks it.

    Attributes:
      allowed_KL: bool, layers a client may train; none for a client that is absent.
      start_KL: bool, the most important choice within all limits.
      bounds: None if any number of clients may pick a layer.
      costs: None if budgets count layers.
    """

    allowed_KL: jax.Array
    start_KL: jax.Array
    bounds: Bounds | None
    costs: Costs | None


@struct.dataclass
class Problem:
    """One round's selection problem; all of it is traced, so a new round compiles nothing.

    Attributes:
      scores_KL: float32, importance of every layer to every client, higher is better; finite.
      budgets_K: int32, how many layers each client trains; 0 if it is absent.
      limits: None for the paper's problem.
    """

    scores_KL: jax.Array
    budgets_K: jax.Array
    limits: Limits | None = None


def make_problem(
    scores_KL: jax.Array, budgets_K: jax.Array, limits: Limits | None = None
) -> Problem:
    """Makes a problem of what the clients sent.

    Args:
      scores_KL: float [K, L]; a layer whose score is not finite is worth less than any other.
      budgets_K: int [K], 1 … L; not used where the limits have costs.
      limits: beyond the paper's.

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
    """Takes every client's own most important layers (LNTK as a method of its own).

    Args:
      problem: of this round; its bounds are the server's affair and not kept here.

    Returns:
      mask_KL: bool; the budget in every row, or, where layers have costs, every layer that still
      fits, in order of importance; among equal scores the lower layers first.
    """
    places_KL = pareto.places_in_rows(-problem.scores_KL)
    clients = jnp.arange(len(places_KL))
    return jax.vmap(functools.partial(take_first, problem))(clients, places_KL)


def take_first(problem: Problem, client: jax.Array, places_L: jax.Array) -> jax.Array:
    """Lets a client take layers in an order, as far as its own limits go.

    Args:
      problem: of this round.
      client: int32, which one.
      places_L: int32, every layer's place in the order.

    Returns:
      row_L: bool.
    """
    budget = problem.budgets_K[client]
    if problem.limits is None:
        return places_L < budget
    order_L = jnp.zeros_like(places_L).at[places_L].set(jnp.arange(len(places_L)))
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
    """Tells which rows are within their clients' own limits.

    Args:
      problem: of this round.
      words_PKW: uint32, as `choices.pack` makes them.

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
    """Tells which choices keep every layer's coverage and cap: bool [P]."""
    if limits is None or limits.bounds is None:
        return jnp.ones(len(histogram_PL), bool)
    bounds = limits.bounds
    enough_PL = histogram_PL >= bounds.least_L[None]
    return jnp.all(enough_PL & (histogram_PL <= bounds.most_L[None]), axis=1)
