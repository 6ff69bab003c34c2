"""External archive: the most important choice evaluated so far at every level of the variance.

A search's own archive is thinned by crowding, and a thinned archive may later take in a choice
that one of its lost members dominated. This one cannot. Levels do not overlap, so that a choice
that is the most important of its level, and more important than the best of every level below, is
dominated by nothing that was ever evaluated, whatever was replaced on the way.

With budgets in layers, the variance takes values 2 / L apart. Up to `LEVELS` of them, each has a
level of its own, and the archive is the whole non-dominated set of all evaluated choices. Beyond
that, levels are ranges, finer where the variance is small, and each keeps its most important
choice.
"""

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import objectives, pareto
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.problem import Problem

LEVELS = 1024
"""Bound of the archive, V."""


@struct.dataclass
class VarianceLevels:
    """Levels that partition the variances of a problem's choices.

    Attributes:
      lowest: float32, lower bound of the variance.
      highest: float32, upper bound of the variance.
      step: float32, smallest difference of two variances.
    """

    lowest: jax.Array
    highest: jax.Array
    step: jax.Array


@struct.dataclass
class ExternalArchive:
    """The best evaluated choice of each level.

    Attributes:
      words_VKW: uint32, choices packed by `choices.pack`; 0 in empty levels.
      objectives_VM: float32, minimised; infinite in empty levels.
      levels: Levels of the variance.
    """

    words_VKW: jax.Array
    objectives_VM: jax.Array
    levels: VarianceLevels


def make_external_archive(problem: Problem, choices: Choices) -> ExternalArchive:
    """Makes an archive of evaluated choices.

    Args:
      problem: Problem of this round.
      choices: P evaluated choices.

    Returns:
      The archive.
    """
    shape = choices.words_PKW.shape[1:]
    words_VKW = jnp.zeros((LEVELS, *shape), choices.words_PKW.dtype)
    empty = ExternalArchive(words_VKW, jnp.full((LEVELS, 2), jnp.inf), _levels(problem))
    return add(empty, choices, choices.objectives())


def add(archive: ExternalArchive, choices: Choices, objectives_PM: jax.Array) -> ExternalArchive:
    """Adds evaluated choices.

    Args:
      archive: Archive so far.
      choices: P evaluated choices.
      objectives_PM: float32, their objectives, minimised; a choice with a NaN is left out.

    Returns:
      The archive, in which a choice replaces the one of its level if it is more important or, at
      the same importance, of less variance.
    """
    size, bound = len(objectives_PM), len(archive.objectives_VM)
    level_P = _level(archive.levels, objectives_PM[:, 1], bound)
    level_P = jnp.where(pareto.usable(objectives_PM), level_P, bound)
    best_P = jnp.ones(size, bool)
    for values_P in (*objectives_PM.T, jnp.arange(size, dtype=jnp.float32)):
        values_P = jnp.where(best_P, values_P, jnp.inf)
        least_V = jnp.full(bound + 1, jnp.inf).at[level_P].min(values_P)
        best_P &= values_P == least_V[level_P]
    old_PM = archive.objectives_VM[jnp.minimum(level_P, bound - 1)]
    more_P = objectives_PM[:, 0] < old_PM[:, 0]
    as_much_P = objectives_PM[:, 0] == old_PM[:, 0]
    best_P &= more_P | (as_much_P & (objectives_PM[:, 1] < old_PM[:, 1]))
    level_P = jnp.where(best_P, level_P, bound)
    return ExternalArchive(
        archive.words_VKW.at[level_P].set(choices.words_PKW, mode="drop"),
        archive.objectives_VM.at[level_P].set(objectives_PM, mode="drop"),
        archive.levels,
    )


def members(archive: ExternalArchive, size: int) -> tuple[jax.Array, jax.Array]:
    """Lists the non-dominated choices of all that were evaluated.

    Args:
      archive: The archive.
      size: P, number of choices to list at most; a longer front is thinned by crowding distance.

    Returns:
      (words_PKW, uint32, packed choices, 0 in unused rows; int32 scalar, number of rows in use).
    """
    order_V, count = pareto.by_crowding(archive.objectives_VM, nondominated(archive))
    every_P = jnp.arange(size)
    order_P, used_P = order_V[every_P % len(order_V)], every_P < count
    return jnp.where(used_P[:, None, None], archive.words_VKW[order_P], 0), count


def nondominated(archive: ExternalArchive) -> jax.Array:
    """Marks levels whose choice no evaluated choice dominates, bool [V]."""
    first_V = archive.objectives_VM[:, 0]
    below_V = jnp.concatenate([jnp.array([jnp.inf]), jax.lax.cummin(first_V)[:-1]])
    return first_V < below_V


def _levels(problem: Problem) -> VarianceLevels:
    """Bounds the variance: every client picks the same first layers, or picks are spread evenly."""
    clients, layers = problem.scores_KL.shape
    if problem.limits is not None and problem.limits.costs is not None:
        # The number of picks is open.
        return VarianceLevels(*jnp.array([0.0, clients**2 / 4, 1 / layers**2]))
    histogram_L = jnp.sum(problem.budgets_K[:, None] > jnp.arange(layers)[None], axis=0)
    highest = objectives.from_totals(jnp.float32(0), histogram_L)[1]
    fraction = (jnp.sum(problem.budgets_K) % layers) / layers
    return VarianceLevels(fraction * (1.0 - fraction), highest, jnp.float32(2 / layers))


def _level(levels: VarianceLevels, variance_P: jax.Array, bound: int) -> jax.Array:
    """Returns the index of each variance's level, int32 in 0 … V − 1."""
    above_P = jnp.maximum(variance_P - levels.lowest, 0.0)
    extent = jnp.maximum(levels.highest - levels.lowest, levels.step)
    single_P = jnp.round(above_P / levels.step)
    range_P = jnp.sqrt(above_P / extent) * (bound - 1)
    index_P = jnp.where(extent / levels.step < bound - 0.5, single_P, range_P)
    return jnp.clip(index_P, 0, bound - 1).astype(jnp.int32)
