"""Which swap pays most for one client? Its best layer not picked for its worst one picked."""

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection.problem import Limits


@struct.dataclass
class Place:
    """Where a client stands in P choices.

    Attributes:
      row_PL: bool, what it picks.
      others_PL: int32, how many others picked each layer.
      prices_P: float32, what one unit of Σ_l n_l² costs in importance.
      allowed_L: bool, layers it may train.
      capacity: float32, what its layers may cost together; not used if budgets count layers.
    """

    row_PL: jax.Array
    others_PL: jax.Array
    prices_P: jax.Array
    allowed_L: jax.Array
    capacity: jax.Array


def best(
    row_PL: jax.Array, worth_PL: jax.Array, removable_PL: jax.Array, addable_PL: jax.Array
) -> jax.Array:
    """Swaps the least worthwhile removable layer for the most worthwhile addable one, if that pays.

    Args:
      row_PL: bool, what the client picks.
      worth_PL: float32, what each layer is worth to it.
      removable_PL: bool, picks that may be given up.
      addable_PL: bool, layers that may be taken instead.

    Returns:
      row_PL: bool, with as many picks as before.
    """
    gone_PL, least_P = _first_smallest(jnp.where(removable_PL, worth_PL, jnp.inf))
    new_PL, most_P = _first_smallest(jnp.where(addable_PL, -worth_PL, jnp.inf))
    better_P = least_P + most_P < 0
    return row_PL ^ ((gone_PL | new_PL) & better_P[:, None])


def best_within(here: Place, worth_PL: jax.Array, limits: Limits) -> jax.Array:
    """Makes the swap that pays most within a client's and the server's limits.

    Args:
      here: where the client stands.
      worth_PL: float32, what each layer is worth to it.
      limits: whose bounds and costs to keep.

    Returns:
      row_PL: bool. Where layers have costs, a pick may also be added and nothing given up for it.
    """
    removable_PL, addable_PL = here.row_PL, ~here.row_PL & here.allowed_L[None]
    if limits.bounds is not None:
        removable_PL &= here.others_PL >= limits.bounds.least_L[None]
        addable_PL &= here.others_PL < limits.bounds.most_L[None]
    if limits.costs is None:
        return best(here.row_PL, worth_PL, removable_PL, addable_PL)
    return _best_affordable(here, worth_PL, removable_PL, addable_PL, limits.costs.costs_L)


def _best_affordable(
    here: Place,
    worth_PL: jax.Array,
    removable_PL: jax.Array,
    addable_PL: jax.Array,
    costs_L: jax.Array,
) -> jax.Array:
    """Tries every pair of a layer (or nothing, in the last place) given up and a layer taken."""
    size, layers = worth_PL.shape
    # One pick more adds 2 N + 1 to the square of their number N, and takes as much over L off the
    # variance × L.
    total_P = jnp.sum(here.others_PL + here.row_PL, axis=1)
    nothing_P1 = (-here.prices_P * (2.0 * total_P + 1.0) / layers)[:, None]
    given_PE = jnp.concatenate([jnp.where(removable_PL, worth_PL, jnp.inf), nothing_P1], axis=1)
    taken_PL = jnp.where(addable_PL, worth_PL, -jnp.inf)
    spent_P = jnp.sum(jnp.where(here.row_PL, costs_L[None], 0.0), axis=1)
    left_P = jnp.subtract(here.capacity, spent_P)
    freed_E = jnp.append(costs_L, 0.0)
    affordable_PEL = costs_L[None, None] <= left_P[:, None, None] + freed_E[None, :, None]
    gain_PEL = jnp.where(affordable_PEL, taken_PL[:, None] - given_PE[..., None], -jnp.inf)
    flat_PV = gain_PEL.reshape(size, -1)
    pair_P = jnp.argmax(flat_PV, axis=1)
    better_P1 = (jnp.max(flat_PV, axis=1) > 0)[:, None]
    every_L = jnp.arange(layers)[None]
    flip_PL = (every_L == (pair_P // layers)[:, None]) | (every_L == (pair_P % layers)[:, None])
    return here.row_PL ^ (flip_PL & better_P1)


def _first_smallest(values_PL: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Marks the first smallest value of each row, several times faster on CPU than argmin."""
    num_layers = values_PL.shape[1]
    layers_PL = jnp.broadcast_to(jnp.arange(num_layers)[None], values_PL.shape)
    smallest_P = jnp.min(values_PL, axis=1)
    hits_PL = values_PL == smallest_P[:, None]
    first_P = jnp.min(jnp.where(hits_PL, layers_PL, num_layers), axis=1)
    return layers_PL == first_P[:, None], smallest_P
