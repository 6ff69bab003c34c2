"""Swaps of one client: its worst picked layer for its best layer not picked, or at random."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import pareto, problem as problem_lib, sharing
from f3ocus_jax.selection.problem import Limits, Problem


@struct.dataclass
class ClientPicks:
    """One client's picks in P choices, with the data that a swap needs.

    Attributes:
      row_LP: bool, layers that the client picks.
      others_LP: int32, number of other clients that picked each layer.
      prices_P: float32, price of one unit of Σ_l n_l² in importance.
      allowed_L: bool, layers that the client may train.
      capacity: float32, largest total cost of its layers; unused if budgets count layers.
    """

    row_LP: jax.Array
    others_LP: jax.Array
    prices_P: jax.Array
    allowed_L: jax.Array
    capacity: jax.Array


class Swap(NamedTuple):
    """One client's swap in P choices.

    Attributes:
      row_LP: bool, layers that the client picks after the swap.
      gone_P: int32, layer that it drops; L if there is none.
      new_P: int32, layer that it takes; L if there is none.
    """

    row_LP: jax.Array
    gone_P: jax.Array
    new_P: jax.Array


def best(
    row_LP: jax.Array, worth_LP: jax.Array, removable_LP: jax.Array, addable_LP: jax.Array
) -> Swap:
    """Swaps the least worthwhile removable layer for the most worthwhile addable one, if that pays.

    Args:
      row_LP: bool, layers that the client picks.
      worth_LP: float32, worth of each layer to the client.
      removable_LP: bool, picks that may be dropped.
      addable_LP: bool, layers that may be taken instead.

    Returns:
      Swap; the number of picks stays the same.
    """
    gone_P, least_P = pareto.first_smallest(jnp.where(removable_LP, worth_LP, jnp.inf))
    new_P, most_P = pareto.first_smallest(jnp.where(addable_LP, -worth_LP, jnp.inf))
    return _swap(row_LP, gone_P, new_P, least_P + most_P < 0)


def best_within(picks: ClientPicks, worth_LP: jax.Array, limits: Limits) -> Swap:
    """Makes the best swap within a client's and the server's limits.

    Args:
      picks: The client's picks.
      worth_LP: float32, worth of each layer to the client.
      limits: Limits with the bounds and costs to satisfy.

    Returns:
      Swap. If layers have costs, a layer may also be taken without dropping another.
    """
    removable_LP, addable_LP = picks.row_LP, ~picks.row_LP & picks.allowed_L[:, None]
    if limits.bounds is not None:
        removable_LP &= picks.others_LP >= limits.bounds.least_L[:, None]
        addable_LP &= picks.others_LP < limits.bounds.most_L[:, None]
    if limits.sharers is not None:
        # A swap opens and closes no layer.
        shared_LP = picks.others_LP >= jnp.broadcast_to(limits.sharers, picks.prices_P.shape)[None]
        removable_LP, addable_LP = removable_LP & shared_LP, addable_LP & shared_LP
    if limits.costs is None:
        return best(picks.row_LP, worth_LP, removable_LP, addable_LP)
    return _best_affordable(picks, worth_LP, removable_LP, addable_LP, limits.costs.costs_L)


def flip(key: jax.Array, problem: Problem, mask_KL: jax.Array) -> jax.Array:
    """Flips a random bit and repairs the client's row by random other bits.

    Args:
      key: Random key.
      problem: Problem of this round.
      mask_KL: bool, a feasible choice.

    Returns:
      bool [K, L], a feasible choice. A layer that too few clients would share is filled or emptied
      at random; the choice stays the same where a limit would still be broken.
    """
    key_bit, key_repair = jax.random.split(key)
    clients, layers = mask_KL.shape
    client, layer = jnp.divmod(jax.random.randint(key_bit, (), 0, clients * layers), layers)
    row_L = mask_KL[client]
    keys_L = (row_L + jax.random.uniform(key_repair, (layers,))).astype(jnp.float32)
    keys_L = keys_L.at[layer].set(jnp.where(row_L[layer], -1.0, 2.0))
    new_L = problem_lib.take_first(problem, client, pareto.sorted_index(-keys_L))
    new_KL = mask_KL.at[client].set(new_L)
    if problem.limits is not None and problem.limits.sharers is not None:
        worth_KL = jax.random.uniform(jax.random.fold_in(key_repair, 1), mask_KL.shape)
        new_KL, _ = sharing.repair(problem, new_KL, worth_KL, 0.0)
    histogram_1L = jnp.sum(new_KL, axis=0, dtype=jnp.int32)[None]
    return jnp.where(problem_lib.in_bounds(problem.limits, histogram_1L)[0], new_KL, mask_KL)


def _best_affordable(
    picks: ClientPicks,
    worth_LP: jax.Array,
    removable_LP: jax.Array,
    addable_LP: jax.Array,
    costs_L: jax.Array,
) -> Swap:
    """Tries every pair of a dropped layer (or none, the last index) and a taken layer."""
    layers, size = worth_LP.shape
    # One pick more adds 2 N + 1 to the square of their number N, and takes as much over L off the
    # variance × L.
    total_P = jnp.sum(picks.others_LP + picks.row_LP, axis=0)
    nothing_1P = (-picks.prices_P * (2.0 * total_P + 1.0) / layers)[None]
    given_EP = jnp.concatenate([jnp.where(removable_LP, worth_LP, jnp.inf), nothing_1P])
    taken_LP = jnp.where(addable_LP, worth_LP, -jnp.inf)
    spent_P = jnp.sum(jnp.where(picks.row_LP, costs_L[:, None], 0.0), axis=0)
    left_P = jnp.subtract(picks.capacity, spent_P)
    freed_E = jnp.append(costs_L, 0.0)
    affordable_ELP = costs_L[None, :, None] <= left_P[None, None] + freed_E[:, None, None]
    loss_ELP = jnp.where(affordable_ELP, given_EP[:, None] - taken_LP[None], jnp.inf)
    pair_P, least_P = pareto.first_smallest(loss_ELP.reshape(-1, size))
    return _swap(picks.row_LP, pair_P // layers, pair_P % layers, least_P < 0)


def _swap(row_LP: jax.Array, gone_P: jax.Array, new_P: jax.Array, pays_P: jax.Array) -> Swap:
    """Makes a swap in the choices where it pays."""
    layers = len(row_LP)
    gone_P, new_P = (jnp.where(pays_P, layer_P, layers) for layer_P in (gone_P, new_P))
    every_L1 = jnp.arange(layers)[:, None]
    changed_LP = (every_L1 == gone_P[None]) | (every_L1 == new_P[None])
    return Swap(row_LP ^ changed_LP, gone_P, new_P)
