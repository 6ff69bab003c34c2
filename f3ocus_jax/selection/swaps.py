"""Which swap pays most for one client? Its best layer not picked for its worst one picked."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import pareto
from f3ocus_jax.selection.problem import Limits


@struct.dataclass
class Place:
    """Where a client stands in P choices.

    Attributes:
      row_LP: bool, what it picks.
      others_LP: int32, how many others picked each layer.
      prices_P: float32, what one unit of Σ_l n_l² costs in importance.
      allowed_L: bool, layers it may train.
      capacity: float32, what its layers may cost together; not used if budgets count layers.
    """

    row_LP: jax.Array
    others_LP: jax.Array
    prices_P: jax.Array
    allowed_L: jax.Array
    capacity: jax.Array


class Swap(NamedTuple):
    """What a client does in P choices.

    Attributes:
      row_LP: bool, what it picks then.
      gone_P: int32, the layer given up; L if there is none.
      new_P: int32, the layer taken; L if there is none.
    """

    row_LP: jax.Array
    gone_P: jax.Array
    new_P: jax.Array


def best(
    row_LP: jax.Array, worth_LP: jax.Array, removable_LP: jax.Array, addable_LP: jax.Array
) -> Swap:
    """Swaps the least worthwhile removable layer for the most worthwhile addable one, if that pays.

    Args:
      row_LP: bool, what the client picks.
      worth_LP: float32, what each layer is worth to it.
      removable_LP: bool, picks that may be given up.
      addable_LP: bool, layers that may be taken instead.

    Returns:
      Swap, which leaves the number of picks as it was.
    """
    gone_P, least_P = pareto.first_smallest(jnp.where(removable_LP, worth_LP, jnp.inf))
    new_P, most_P = pareto.first_smallest(jnp.where(addable_LP, -worth_LP, jnp.inf))
    return _swap(row_LP, gone_P, new_P, least_P + most_P < 0)


def best_within(here: Place, worth_LP: jax.Array, limits: Limits) -> Swap:
    """Makes the swap that pays most within a client's and the server's limits.

    Args:
      here: where the client stands.
      worth_LP: float32, what each layer is worth to it.
      limits: whose bounds and costs to keep.

    Returns:
      Swap. Where layers have costs, a pick may also be added and nothing given up for it.
    """
    removable_LP, addable_LP = here.row_LP, ~here.row_LP & here.allowed_L[:, None]
    if limits.bounds is not None:
        removable_LP &= here.others_LP >= limits.bounds.least_L[:, None]
        addable_LP &= here.others_LP < limits.bounds.most_L[:, None]
    if limits.costs is None:
        return best(here.row_LP, worth_LP, removable_LP, addable_LP)
    return _best_affordable(here, worth_LP, removable_LP, addable_LP, limits.costs.costs_L)


def _best_affordable(
    here: Place,
    worth_LP: jax.Array,
    removable_LP: jax.Array,
    addable_LP: jax.Array,
    costs_L: jax.Array,
) -> Swap:
    """Tries every pair of a layer (or nothing, in the last place) given up and a layer taken."""
    layers, size = worth_LP.shape
    # One pick more adds 2 N + 1 to the square of their number N, and takes as much over L off the
    # variance × L.
    total_P = jnp.sum(here.others_LP + here.row_LP, axis=0)
    nothing_1P = (-here.prices_P * (2.0 * total_P + 1.0) / layers)[None]
    given_EP = jnp.concatenate([jnp.where(removable_LP, worth_LP, jnp.inf), nothing_1P])
    taken_LP = jnp.where(addable_LP, worth_LP, -jnp.inf)
    spent_P = jnp.sum(jnp.where(here.row_LP, costs_L[:, None], 0.0), axis=0)
    left_P = jnp.subtract(here.capacity, spent_P)
    freed_E = jnp.append(costs_L, 0.0)
    affordable_ELP = costs_L[None, :, None] <= left_P[None, None] + freed_E[:, None, None]
    loss_ELP = jnp.where(affordable_ELP, given_EP[:, None] - taken_LP[None], jnp.inf)
    pair_P, least_P = pareto.first_smallest(loss_ELP.reshape(-1, size))
    return _swap(here.row_LP, pair_P // layers, pair_P % layers, least_P < 0)


def _swap(row_LP: jax.Array, gone_P: jax.Array, new_P: jax.Array, pays_P: jax.Array) -> Swap:
    """Makes a swap where it pays."""
    layers = len(row_LP)
    gone_P, new_P = (jnp.where(pays_P, place_P, layers) for place_P in (gone_P, new_P))
    every_L1 = jnp.arange(layers)[:, None]
    changed_LP = (every_L1 == gone_P[None]) | (every_L1 == new_P[None])
    return Swap(row_LP ^ changed_LP, gone_P, new_P)
