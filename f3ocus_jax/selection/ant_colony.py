"""Ant colony over choices of layers: pheromone per client and layer, importance as heuristic.

M. Dorigo, V. Maniezzo, A. Colorni: Ant system: optimization by a colony of cooperating agents.
IEEE Transactions on Systems, Man, and Cybernetics B 26(1), 1996; for two objectives S. Iredi, D.
Merkle, M. Middendorf: Bi-criterion optimization with multi colony ant algorithms. EMO 2001. As
there: an ant picks layers with a probability that grows with pheromone and heuristic, ant p
weighs the two objectives' heuristics by its index p / (P − 1) in the colony, pheromone
evaporates, and the choices on the front lay it down.

Differences: an ant does not build its choice from nothing but rebuilds a part of the archive's
best choice for its weights, one pick for each of the J clients of the generation; the two
heuristics, importance and evenness, are added with the ant's weights before the exponential;
pheromone stays within bounds (Stützle and Hoos 2000); one draw of noise serves all clients, at
shifted layers.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import (
    archive as archive_lib,
    choices as choices_lib,
    local_search,
    metaheuristic,
)
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.metaheuristic import Metaheuristic


@struct.dataclass
class State(metaheuristic.State):
    """A colony between two generations.

    Attributes:
      pheromone_KL: float32 in [floor, 1], moving average of the front's picks of each layer.
    """

    pheromone_KL: jax.Array


@struct.dataclass
class Params(metaheuristic.Params):
    """Settings of the colony.

    Attributes:
      alpha: Weight of the pheromone, in units of a client's mean loss of importance between the
        front's ends.
      temperature: Scale of the sampling noise in the same units; it falls as 1 / generation.
      evaporation: Fraction of a client's pheromone that evaporates per update.
      floor: Smallest pheromone value.
    """

    alpha: float
    temperature: float
    evaporation: float
    floor: float


class AntColony(Metaheuristic):
    """A bi-criterion ant colony over choices of layers."""

    @property
    def _default_params(self) -> Params:
        problem = super()._default_params.problem
        return Params(problem, alpha=0.02, temperature=0.1, evaporation=0.3, floor=0.05)

    def _init(self, key: jax.Array, population: Choices, params: Params) -> State:
        return State(
            pheromone_KL=jnp.ones((self.clients, self.layers)),
            archive=archive_lib.make_archive(population),
            generation_counter=jnp.int32(0),
        )

    def _ask(self, key: jax.Array, state: State, params: Params) -> tuple[Choices, State]:
        archive, start = state.archive, self._block_start(state.generation_counter)
        weights_P = jnp.linspace(0.0, 1.0, self.population_size)
        best_P, extent_M = archive_lib.best_for(archive, weights_P)
        ants = choices_lib.take(archive.choices, best_P)
        block = self._unpack(ants, start, params.problem)
        scale = extent_M[0] / self.clients
        bias_JLP = scale * self._attraction(key, state, start, params)
        prices_P = local_search.prices(weights_P, extent_M, self.layers)
        block = local_search.climb(block, prices_P, bias_JLP=bias_JLP)
        return self._write_back(ants, start, block, params.problem, prices_P), state

    def _attraction(
        self, key: jax.Array, state: State, start: jax.Array, params: Params
    ) -> jax.Array:
        """Returns the pheromone's logarithm plus Gumbel noise, so that the maximum is a sample."""
        pheromone_JL = jax.lax.dynamic_slice_in_dim(state.pheromone_KL, start, self.visits)
        noise_JLP = local_search.shared_gumbel(key, self.visits, self.layers, self.population_size)
        cooling = params.temperature / (1.0 + state.generation_counter)
        return params.alpha * jnp.log(pheromone_JL)[..., None] + cooling * noise_JLP

    def _tell(
        self, key: jax.Array, population: Choices, fitness: jax.Array, state: State, params: Params
    ) -> State:
        archive = archive_lib.merge(state.archive, population, fitness)
        start = self._block_start(state.generation_counter)
        picked_JLP = self._rows(archive.choices, start) & archive.valid_P[None, None]
        votes_JL = jnp.sum(picked_JLP, axis=2) / jnp.sum(archive.valid_P)
        old_JL = jax.lax.dynamic_slice_in_dim(state.pheromone_KL, start, self.visits)
        new_JL = (1.0 - params.evaporation) * old_JL + params.evaporation * votes_JL
        pheromone_KL = jax.lax.dynamic_update_slice_in_dim(
            state.pheromone_KL, jnp.maximum(new_JL, params.floor), start, axis=0
        )
        return dataclasses.replace(state, pheromone_KL=pheromone_KL, archive=archive)
