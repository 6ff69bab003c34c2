"""Multi-objective simulated annealing as published (AMOSA), over strings of K × L bits.

S. Bandyopadhyay, S. Saha, U. Maulik, K. Deb: A simulated annealing-based multiobjective
optimization algorithm: AMOSA. IEEE Transactions on Evolutionary Computation 12(3), 2008, after
S. Kirkpatrick, C. D. Gelatt, M. P. Vecchi: Optimization by simulated annealing. Science 220, 1983.

As published: one chain; a step flips one random bit; a new point that the current one or members
of the archive dominate is accepted with probability 1 / (1 + exp(Δ / T)), Δ its mean amount of
domination by them; one that dominates the current point although members of the archive dominate
it gives way to the member that dominates it least, with probability 1 / (1 + exp(−Δ)), Δ the
amount; any other is accepted; the temperature falls geometrically from 200 to 1e-7.
Adapted: a temperature lasts one generation of P steps, which one `ask` makes and evaluates; after
the flip the client's row is repaired to its budget (`feasible.py`), so that a flip is a swap; Δ is
divided by T, where the publication's formula multiplies by it and would accept more as it cools;
the archive keeps one point per level of variance (`external_archive.py`) in place of clustering;
the chain starts from a member of a random population's front, without hill climbing.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import (
    choices as choices_lib,
    external_archive,
    objectives,
    pareto,
    swaps,
)
from f3ocus_jax.selection.annealing import amounts
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.external_archive import ExternalArchive
from f3ocus_jax.selection.published import algorithm
from f3ocus_jax.selection.published.algorithm import PublishedMetaheuristic


@struct.dataclass
class State:
    """The chain between two temperatures.

    Attributes:
      current_KL: bool, current choice.
      current_M: float32, its objectives, minimised.
      archive: Archive of the front.
      generation_counter: int32, number of generations so far.
    """

    current_KL: jax.Array
    current_M: jax.Array
    archive: ExternalArchive
    generation_counter: jax.Array


@struct.dataclass
class Params(algorithm.Params):
    """Settings of the chain.

    Attributes:
      hottest: Temperature of the first generation.
      coldest: Temperature of the last generation.
    """

    hottest: float
    coldest: float


class Domination(NamedTuple):
    """Domination of a new point by the current one and by the archive.

    Attributes:
      mean: float32, mean amount of domination; 0 if nothing dominates the point.
      least: float32, smallest amount of domination by a member of the archive that dominates it.
      closest: int32, level of that member.
      in_archive: bool, True if a member of the archive dominates the point.
    """

    mean: jax.Array
    least: jax.Array
    closest: jax.Array
    in_archive: jax.Array


class PublishedAnnealing(PublishedMetaheuristic):
    """A chain of archived multi-objective simulated annealing."""

    @property
    def _default_params(self) -> Params:
        base = super()._default_params
        return Params(base.problem, base.generations, hottest=200.0, coldest=1e-7)

    def _init(self, key: jax.Array, population: Choices, params: Params) -> State:
        objectives_PM = population.objectives()
        odds_P = jnp.where(pareto.front(objectives_PM), 0.0, -jnp.inf)
        start = jax.random.categorical(key, odds_P)
        return State(
            current_KL=choices_lib.unpack(population.words_PKW[start], self.layers),
            current_M=objectives_PM[start],
            archive=external_archive.make_external_archive(params.problem, population),
            generation_counter=jnp.int32(0),
        )

    def _ask(self, key: jax.Array, state: State, params: Params) -> tuple[Choices, State]:
        cooled = state.generation_counter / jnp.maximum(params.generations - 1.0, 1.0)
        temperature = params.hottest * (params.coldest / params.hottest) ** cooled

        def step(state: State, key: jax.Array) -> tuple[State, jax.Array]:
            key_flip, key_accept = jax.random.split(key)
            new_KL = swaps.flip(key_flip, params.problem, state.current_KL)
            new_M = objectives.objectives(new_KL, params.problem.scores_KL)
            words_KW = choices_lib.pack(new_KL)
            moved = self._move(key_accept, state, new_KL, new_M, temperature)
            point = choices_lib.from_words(words_KW[None], params.problem.scores_KL)
            archive = external_archive.add(state.archive, point, new_M[None])
            return dataclasses.replace(moved, archive=archive), words_KW

        keys = jax.random.split(key, self.population_size)
        state, words_PKW = jax.lax.scan(step, state, keys)
        return choices_lib.from_words(words_PKW, params.problem.scores_KL), state

    def _move(
        self,
        key: jax.Array,
        state: State,
        new_KL: jax.Array,
        new_M: jax.Array,
        temperature: jax.Array,
    ) -> State:
        """Moves the chain to the new point, to a member of the archive, or not at all."""
        found = domination(state.archive, state.current_M, new_M)
        returns = pareto.dominates(new_M, state.current_M) & found.in_archive
        odds = jax.nn.sigmoid(jnp.where(returns, found.least, -found.mean / temperature))
        lucky = jax.random.uniform(key) < odds
        member_KL = choices_lib.unpack(state.archive.words_VKW[found.closest], self.layers)
        member_M = state.archive.objectives_VM[found.closest]
        to_member = returns & lucky
        to_new = jnp.where(returns, ~lucky, lucky | (found.mean == 0))
        next_KL = jnp.where(to_new, new_KL, state.current_KL)
        next_M = jnp.where(to_new, new_M, state.current_M)
        return dataclasses.replace(
            state,
            current_KL=jnp.where(to_member, member_KL, next_KL),
            current_M=jnp.where(to_member, member_M, next_M),
        )

    def _tell(
        self, key: jax.Array, population: Choices, fitness: jax.Array, state: State, params: Params
    ) -> State:
        return state


def domination(archive: ExternalArchive, current_M: jax.Array, new_M: jax.Array) -> Domination:
    """Measures how much the current point and the archive dominate a new point.

    Args:
      archive: Archive of the front.
      current_M: float32 [2], objectives of the current point, minimised.
      new_M: float32 [2], objectives of the new point, minimised.

    Returns:
      Domination.
    """
    members_V = external_archive.nondominated(archive)
    points_NM = jnp.concatenate([archive.objectives_VM, current_M[None], new_M[None]])
    valid_N = jnp.concatenate([members_V, jnp.ones(2, bool)])
    _, extent_M = pareto.scaled(points_NM, valid_N)
    amounts_V = amounts(archive.objectives_VM, new_M[None], extent_M)
    amounts_V = jnp.where(members_V, amounts_V, 0.0)
    by_current = amounts(current_M, new_M, extent_M)
    count = jnp.sum(amounts_V > 0) + (by_current > 0)
    mean = (jnp.sum(amounts_V) + by_current) / jnp.maximum(count, 1)
    least_V = jnp.where(amounts_V > 0, amounts_V, jnp.inf)
    closest = jnp.argmin(least_V)
    in_archive = jnp.any(amounts_V > 0)
    return Domination(mean, jnp.where(in_archive, least_V[closest], 0.0), closest, in_archive)
