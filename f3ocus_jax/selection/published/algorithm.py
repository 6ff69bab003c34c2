"""Base class of the published metaheuristics, which know how many generations they have."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import choices as choices_lib, metaheuristic
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.metaheuristic import Metaheuristic
from f3ocus_jax.selection.problem import Problem


@struct.dataclass
class Params(metaheuristic.Params):
    """Parameters of a published metaheuristic that change between rounds.

    Attributes:
      generations: float32, number of generations G of the round, for what changes with time.
    """

    generations: jax.Array


class PublishedMetaheuristic(Metaheuristic):
    """A metaheuristic without local search: each `ask` changes all K clients."""

    @property
    def _default_params(self) -> Params:
        return Params(super()._default_params.problem, jnp.float32(1))

    def params_for(self, problem: Problem, generations: int) -> Params:
        """Returns the published settings for the problem of a round."""
        generations_f = jnp.float32(generations)
        return dataclasses.replace(self.default_params, problem=problem, generations=generations_f)

    def _masks(self, choices: Choices) -> jax.Array:
        """Unpacks choices to bool [P, K, L]."""
        return choices_lib.unpack(choices.words_PKW, self.layers)
