"""Repair of choices in which too few clients share a layer: such a layer is filled or emptied.

With at least t sharers, a layer is picked by nobody or by t clients or more. Choices within this
limit are not connected by swaps of single clients: a layer opens or closes only if several clients
move at once. The searches may therefore break the limit, and what they find is repaired.

Every layer with too few clients is assigned to one of two sides first. To fill it costs the clients
that join it their least worthwhile picks of other layers; to empty it moves its clients to the best
open layers that they have not picked. The cheaper side is taken, as far as there are picks to fill.
Then one client after the other moves a pick, always the one that loses least, until every layer is
full or empty. A layer that nobody can join or leave changes its side, once; a choice that is stuck
even so is given up, and its place is taken by a choice within all limits.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from f3ocus_jax.selection import choices as choices_lib, problem as problem_lib
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.problem import Limits, Problem

IMPOSSIBLE = 1e9
"""Loss of a move that no client can make; finite, so that differences of losses are numbers."""

Price = jax.Array | float


class _Task(NamedTuple):
    """What stays the same during a repair.

    Attributes:
      limits: Limits of the round.
      sharers: int32, least number of clients of a layer that anybody picks.
      worth_KL: float32, worth of each layer to each client.
      price: float32 ≥ 0, price of one unit of Σ_l n_l² in worth.
    """

    limits: Limits
    sharers: jax.Array
    worth_KL: jax.Array
    price: Price


class _Repair(NamedTuple):
    """A choice under repair.

    Attributes:
      mask_KL: bool, picks so far.
      open_L: bool, layers to be filled; all others are to be emptied.
      settled_L: bool, layers that may not change their side any more.
      stuck: bool, True if no move is left.
    """

    mask_KL: jax.Array
    open_L: jax.Array
    settled_L: jax.Array
    stuck: jax.Array


class _Counts(NamedTuple):
    """Clients per layer, and the range of their number on the layer's side, int32 [L]."""

    histogram_L: jax.Array
    least_L: jax.Array
    most_L: jax.Array

    def gaps(self) -> jax.Array:
        """Returns the distance of each layer from its range, int32 [L]; at most 0 within it."""
        return jnp.maximum(self.least_L - self.histogram_L, self.histogram_L - self.most_L)


def repair_choices(
    problem: Problem, choices: Choices, fallback: Choices, prices_P: jax.Array
) -> Choices:
    """Repairs choices of a search by the scores.

    Args:
      problem: Problem of this round.
      choices: P choices, every row within its client's own limits.
      fallback: P choices within all limits, for those that cannot be repaired.
      prices_P: float32 ≥ 0, price of one unit of Σ_l n_l² in importance, per choice.

    Returns:
      P choices within all limits; those that were within them are unchanged, and so are all if the
      problem has no sharers.
    """
    if problem.limits is None or problem.limits.sharers is None:
        return choices
    whole_P = problem_lib.in_bounds(problem.limits, choices.histogram_PL)

    def mend(choices: Choices) -> Choices:
        masks_PKL = choices_lib.unpack(choices.words_PKW, problem.scores_KL.shape[1])
        by_score = jax.vmap(repair, in_axes=(None, 0, None, 0))
        masks_PKL, kept_P = by_score(problem, masks_PKL, problem.scores_KL, prices_P)
        mended = choices_lib.from_words(choices_lib.pack(masks_PKL), problem.scores_KL)
        return choices_lib.where(whole_P, choices, choices_lib.where(kept_P, mended, fallback))

    return jax.lax.cond(jnp.all(whole_P), lambda choices: choices, mend, choices)


def repair(
    problem: Problem, mask_KL: jax.Array, worth_KL: jax.Array, price: Price
) -> tuple[jax.Array, jax.Array]:
    """Fills or empties every layer that too few clients share.

    Args:
      problem: Problem of this round, with sharers.
      mask_KL: bool, every row within its client's own limits.
      worth_KL: float32, finite; a client prefers layers of more worth.
      price: float32 ≥ 0, price of one unit of Σ_l n_l² in worth.

    Returns:
      (mask_KL, bool, every row within its client's own limits; bool, True if every layer is within
      its bounds and has no client or at least as many as there must be sharers).

    Raises:
      ValueError: If the problem has no sharers.
    """
    limits = problem.limits
    if limits is None or limits.sharers is None:
        raise ValueError("selection: a repair needs limits with a least number of sharers")
    task = _Task(limits, limits.sharers, worth_KL, price)

    def broken(state: _Repair) -> jax.Array:
        return ~state.stuck & jnp.any(_count(task, state).gaps() > 0)

    open_L = _choose_sides(task, mask_KL)
    settled_L = jnp.zeros_like(open_L) if limits.bounds is None else limits.bounds.least_L > 0
    start = _Repair(mask_KL, open_L, settled_L, jnp.bool_(False))
    state = jax.lax.while_loop(broken, lambda state: _move(task, state), start)
    return state.mask_KL, ~state.stuck


def _count(task: _Task, state: _Repair) -> _Counts:
    limits, clients = task.limits, len(state.mask_KL)
    least_L = jnp.where(state.open_L, task.sharers, 0)
    most_L = jnp.where(state.open_L, clients, 0)
    if limits.bounds is not None:
        least_L = jnp.maximum(least_L, limits.bounds.least_L)
        most_L = jnp.minimum(most_L, limits.bounds.most_L)
    return _Counts(jnp.sum(state.mask_KL, axis=0, dtype=jnp.int32), least_L, most_L)


def _choose_sides(task: _Task, mask_KL: jax.Array) -> jax.Array:
    """Returns the layers to fill, bool [L]: those that are full, and some of the others."""
    limits, histogram_L = task.limits, jnp.sum(mask_KL, axis=0, dtype=jnp.int32)
    full_L = histogram_L >= task.sharers
    if limits.bounds is not None:
        full_L |= limits.bounds.least_L > 0
    partial_L = ~full_L & (histogram_L > 0)
    excess_L = _fill_loss(task, mask_KL) - _empty_loss(task, mask_KL, full_L)
    excess_L = jnp.where(partial_L, excess_L, jnp.inf)
    position_L = jnp.argsort(jnp.argsort(excess_L)) + jnp.sum(full_L)
    needed = jnp.max(jnp.sum(mask_KL, axis=1))
    affordable = jnp.sum(histogram_L) // task.sharers
    fills_L = (position_L < needed) | ((excess_L < 0) & (position_L < affordable))
    return full_L | (partial_L & fills_L)


def _fill_loss(task: _Task, mask_KL: jax.Array) -> jax.Array:
    """Returns what clients lose, float32 [L], if as many as are missing join each layer."""
    limits, histogram_L = task.limits, jnp.sum(mask_KL, axis=0, dtype=jnp.int32)
    kept_KL, taken_KL = _worths(task, histogram_L)
    spare_KL = mask_KL & (histogram_L > task.sharers)[None]
    least_K1 = jnp.min(jnp.where(spare_KL, kept_KL, IMPOSSIBLE), axis=1, keepdims=True)
    joins_KL = jnp.where(~mask_KL & limits.allowed_KL, least_K1 - taken_KL, IMPOSSIBLE)
    wanted_KL = jnp.arange(len(mask_KL))[:, None] < (task.sharers - histogram_L)[None]
    return jnp.sum(jnp.where(wanted_KL, jnp.sort(joins_KL, axis=0), 0.0), axis=0)


def _empty_loss(task: _Task, mask_KL: jax.Array, full_L: jax.Array) -> jax.Array:
    """Returns what clients lose, float32 [L], if all leave a layer for those that are full."""
    kept_KL, taken_KL = _worths(task, jnp.sum(mask_KL, axis=0, dtype=jnp.int32))
    able_KL = ~mask_KL & task.limits.allowed_KL & full_L[None]
    most_K1 = jnp.max(jnp.where(able_KL, taken_KL, -IMPOSSIBLE), axis=1, keepdims=True)
    return jnp.sum(jnp.where(mask_KL, kept_KL - most_K1, 0.0), axis=0)


def _worths(task: _Task, histogram_L: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns each layer's worth less its price, for a client that keeps it, and that takes it."""
    kept_KL = task.worth_KL - (task.price * (2.0 * histogram_L - 1.0))[None]
    return kept_KL, kept_KL - 2.0 * task.price


def _move(task: _Task, state: _Repair) -> _Repair:
    """Moves a pick into or out of one layer, or changes the layer's side if no client can."""
    clients, layers = state.mask_KL.shape
    counts = _count(task, state)
    gaps_L, fills_L = counts.gaps(), counts.histogram_L < counts.least_L
    # Layers to empty come first, those with the fewest picks to move before others.
    order_L = gaps_L + jnp.where(fills_L, clients, 0)
    target = jnp.argmin(jnp.where(gaps_L > 0, order_L, 3 * clients))
    fills = fills_L[target]
    able_KE, loss_KE = _moves(task, state.mask_KL, counts, target, fills)
    # Moves that help the other layer as well come before all others.
    helps_L = (gaps_L > 0) & (fills_L != fills)
    helpful_KE = able_KE & jnp.append(helps_L, False)[None]
    able_KE = jnp.where(jnp.any(helpful_KE), helpful_KE, able_KE)
    pair = jnp.argmin(jnp.where(able_KE, loss_KE, jnp.inf))
    client, other = pair // (layers + 1), pair % (layers + 1)
    moved_KL = state.mask_KL.at[client, target].set(fills)
    moved_KL = moved_KL.at[client, other].set(~fills, mode="drop")
    moves, settled = jnp.any(able_KE), state.settled_L[target]
    turned = ~moves & ~settled
    return _Repair(
        mask_KL=jnp.where(moves, moved_KL, state.mask_KL),
        open_L=state.open_L.at[target].set(state.open_L[target] ^ turned),
        settled_L=state.settled_L.at[target].set(settled | turned),
        stuck=~moves & settled,
    )


def _moves(
    task: _Task, mask_KL: jax.Array, counts: _Counts, target: jax.Array, fills: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Lists the moves of a pick between the target and another layer, or none, the last index.

    Returns:
      (bool [K, L + 1], moves that a client can make; float32 [K, L + 1], what it loses).
    """
    limits = task.limits
    kept_KL, taken_KL = _worths(task, counts.histogram_L)
    leaves_KL = mask_KL & (counts.histogram_L > counts.least_L)[None]
    joins_KL = ~mask_KL & limits.allowed_KL & (counts.histogram_L < counts.most_L)[None]
    able_KL = jnp.where(fills, leaves_KL, joins_KL)
    able_KL &= (jnp.where(fills, ~mask_KL, mask_KL) & limits.allowed_KL)[:, target][:, None]
    loss_KL = jnp.where(
        fills, kept_KL - taken_KL[:, target][:, None], kept_KL[:, target][:, None] - taken_KL
    )
    if limits.costs is None:
        return jnp.pad(able_KL, ((0, 0), (0, 1))), jnp.pad(loss_KL, ((0, 0), (0, 1)))
    costs_L = limits.costs.costs_L
    spent_K = jnp.sum(jnp.where(mask_KL, costs_L[None], 0.0), axis=1)
    left_K1 = (limits.costs.capacity_K - spent_K)[:, None]
    more_1L = jnp.where(fills, costs_L[target] - costs_L, costs_L - costs_L[target])[None]
    alone_K1 = jnp.where(
        fills,
        ~mask_KL[:, target] & limits.allowed_KL[:, target] & (costs_L[target] <= left_K1[:, 0]),
        mask_KL[:, target] & (jnp.sum(mask_KL, axis=1) > 1),
    )[:, None]
    # One pick more or less also changes the square of the number of all picks.
    nothing = -task.price * (2.0 * jnp.sum(counts.histogram_L) + 1.0) / len(costs_L)
    alone_loss_K1 = jnp.where(fills, nothing - taken_KL[:, target], kept_KL[:, target] - nothing)
    return (
        jnp.concatenate([able_KL & (more_1L <= left_K1), alone_K1], axis=1),
        jnp.concatenate([loss_KL, alone_loss_K1[:, None]], axis=1),
    )
