"""Result of a selection and the interface of selectors, the same with and without a search."""

import dataclasses
from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import (
    choices as choices_lib,
    objectives,
    pareto,
    picks,
    problem as problem_lib,
    seeds,
)
from f3ocus_jax.selection.problem import Limits, Problem

PICKS = {"knee": picks.knee, "importance": picks.importance, "index": picks.index}
"""Rules that pick one point of the front, by name."""


@struct.dataclass
class Selection:
    """The chosen layers of a round, and the front they were picked from.

    Attributes:
      mask_KL: bool, client k trains layer l; as many layers per row as the budget says.
      ranks_KL: int32, the refined ranking: 0 for the layer a client needs most, L − 1 for the
        least. Picked layers come first and forbidden layers last; within each group, layers are
        ordered by picks on the front, then by score, then by index.
      own_mask_KL: bool, each client's own choice.
      own_objectives_M: float32 [2], (importance, variance) of the clients' own choices.
      front_mask_PKL: bool, choices on the front; unused rows are all False.
      front_objectives_PM: float32 [P, 2], (importance, variance), valid rows first and by ascending
        importance; 0 in unused rows.
      front_valid_P: bool, rows in use.
      pick: int32, row of the front that is `mask_KL`.
      hypervolume: float32 in [0, 1], dominated fraction of the box between the clients' own choice
        (most importance, largest variance) and an even deal (least importance and variance).
      complete: bool, True if the front is known to be the whole true Pareto front.
      scores_finite: bool, False if a score was NaN or infinite; such a score ranks below all
        others.
    """

    mask_KL: jax.Array
    ranks_KL: jax.Array
    own_mask_KL: jax.Array
    own_objectives_M: jax.Array
    front_mask_PKL: jax.Array
    front_objectives_PM: jax.Array
    front_valid_P: jax.Array
    pick: jax.Array
    hypervolume: jax.Array
    complete: jax.Array
    scores_finite: jax.Array


@dataclasses.dataclass(frozen=True)
class SelectorOptions:
    """Options that all selectors share; each reads those it needs.

    Attributes:
      population: P, size of the population and of the front.
      generations: Number of generations per round.
      pick: Rule that picks one point of the front, a key of `PICKS`.
      pick_value: Argument of the pick.
      disagreement_cost: λ of the selector "regularised".
      shape: Shape of the selector "allocated", one of `allocated.SHAPES`.
      randomised: True if "allocated" draws layers in every round.
    """

    population: int
    generations: int
    pick: str = "knee"
    pick_value: float = 0.0
    disagreement_cost: float = 0.01
    shape: str = "triangle"
    randomised: bool = False


class Select(Protocol):
    """The server's step of a round (F³OCUS, section 3.3): pure, without any data, mostly jitted."""

    def __call__(
        self,
        key: jax.Array,
        scores_KL: jax.Array,
        budgets_K: jax.Array,
        seeds_PKL: jax.Array,
        limits: Limits | None = None,
    ) -> Selection:
        """Chooses the layers of every client.

        Args:
          key: Random key of the search.
          scores_KL: float32, importance of every layer to every client, higher is better.
          budgets_K: int32 in 1 … L, number of layers each client trains.
          seeds_PKL: bool, choices of the last front; unused rows are all False.
          limits: Limits beyond the paper's, from `limits.make_limits`.

        Returns:
          Selection.
        """


Find = Callable[[jax.Array, Problem, jax.Array], jax.Array]
"""Search: (key, problem, seeds_PKL) -> words_PKW, uint32 candidates; unused rows are all 0."""


def make_select(find: Find, options: SelectorOptions) -> Select:
    """Makes a selector that evaluates the candidates of a search and picks from their front.

    Args:
      find: The search; it is traced.
      options: Options of the selector.

    Returns:
      A jitted `Select`.
    """

    @jax.jit
    @jax.named_scope("select")
    def select(
        key: jax.Array,
        scores_KL: jax.Array,
        budgets_K: jax.Array,
        seeds_PKL: jax.Array,
        limits: Limits | None = None,
    ) -> Selection:
        problem = problem_lib.make_problem(scores_KL, budgets_K, limits)
        words_PKW = find(key, problem, seeds_PKL)
        return make_selection(words_PKW, problem, scores_KL, options)

    return select


def make_selection(
    words_PKW: jax.Array, problem: Problem, scores_KL: jax.Array, options: SelectorOptions
) -> Selection:
    """Evaluates candidates exactly, keeps their front, and picks from it.

    Args:
      words_PKW: uint32, candidates packed by `choices.pack`; unused ones are all 0.
      problem: Problem of this round.
      scores_KL: float32, scores as the clients sent them.
      options: Options of the selector.

    Returns:
      Selection.
    """
    own_KL = problem_lib.own_choice(problem)
    points_PM = choices_lib.from_words(words_PKW, problem.scores_KL).objectives()
    valid_P = pareto.front(points_PM, jnp.any(words_PKW != 0, axis=(1, 2)))
    order_P = jnp.argsort(jnp.where(valid_P, -points_PM[:, 0], jnp.inf))
    points_PM, valid_P = points_PM[order_P], valid_P[order_P]
    words_PKW = jnp.where(valid_P[:, None, None], words_PKW[order_P], 0)
    masks_PKL = choices_lib.unpack(words_PKW, scores_KL.shape[1])
    chosen = PICKS[options.pick](points_PM, valid_P, options.pick_value)
    own_M = objectives.objectives(own_KL, problem.scores_KL)
    return Selection(
        mask_KL=masks_PKL[chosen],
        ranks_KL=_ranking(masks_PKL, masks_PKL[chosen], problem),
        own_mask_KL=own_KL,
        own_objectives_M=objectives.as_reported(own_M),
        front_mask_PKL=masks_PKL,
        front_objectives_PM=jnp.where(valid_P[:, None], objectives.as_reported(points_PM), 0.0),
        front_valid_P=valid_P,
        pick=chosen,
        hypervolume=_relative_hypervolume(points_PM, valid_P, own_M, problem),
        complete=jnp.bool_(False),
        scores_finite=jnp.all(jnp.isfinite(scores_KL)),
    )


def _ranking(masks_PKL: jax.Array, mask_KL: jax.Array, problem: Problem) -> jax.Array:
    # One choice after the other: a sum over all would first widen every bit to a number.
    votes_KL = jax.lax.fori_loop(
        0,
        len(masks_PKL),
        lambda p, votes_KL: votes_KL + masks_PKL[p],
        jnp.zeros(mask_KL.shape, jnp.int32),
    )
    keys = [~mask_KL, -votes_KL, -problem.scores_KL]
    if problem.limits is not None:
        keys.insert(0, ~problem.limits.allowed_KL)
    return pareto.sorted_index_in_rows(*keys)


def _relative_hypervolume(
    points_PM: jax.Array, valid_P: jax.Array, own_M: jax.Array, problem: Problem
) -> jax.Array:
    even_M = objectives.objectives(seeds.even_choice(problem), problem.scores_KL)
    lows_M, extent_M = jnp.minimum(own_M, even_M), jnp.abs(own_M - even_M)
    extent_M = jnp.where(extent_M > 0, extent_M, 1.0)
    scaled_PM = (points_PM - lows_M[None]) / extent_M[None]
    return pareto.hypervolume(jnp.maximum(scaled_PM, 0.0), jnp.ones(2), valid_P)
