"""Search loop: seeds, one scan over the generations, and a pick from the front."""

from collections.abc import Callable
from typing import Any, Protocol

import jax

from f3ocus_jax.selection import external_archive, seeds, selector
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.external_archive import ExternalArchive
from f3ocus_jax.selection.neighbours import random_neighbours
from f3ocus_jax.selection.problem import Problem
from f3ocus_jax.selection.selector import Select, SelectorOptions

SMALL = 512
"""Clients × layers up to which searches look at random neighbours of the front: as far as the true
front is known. Larger fronts are dense, and random swaps rarely reach them."""

FirstGeneration = Callable[[jax.Array, Problem, int, jax.Array], Choices]
"""First generation: (key, problem, P, seeds_PKL) -> P evaluated choices."""


class Algorithm(Protocol):
    """Interface of a search: a metaheuristic of this package, or evosax's with random keys."""

    def params_for(self, problem: Problem, generations: int) -> Any:
        """Returns the default settings for the problem of a round and its generations."""

    def init(
        self, key: jax.Array, population: Choices, objectives_PM: jax.Array, params: Any
    ) -> Any:
        """Initialises the state from an evaluated first generation."""

    def ask(self, key: jax.Array, state: Any, params: Any) -> tuple[Choices, Any]:
        """Returns P new choices."""

    def tell(
        self,
        key: jax.Array,
        population: Choices,
        objectives_PM: jax.Array,
        state: Any,
        params: Any,
    ) -> tuple[Any, dict[str, jax.Array]]:
        """Updates the state with evaluated choices."""


def make_search(
    make_algorithm: Callable[[int, int, int], Algorithm],
    options: SelectorOptions,
    *,
    first_generation: FirstGeneration = seeds.population,
    explores: bool = False,
) -> Select:
    """Makes a selector that searches for the front.

    Args:
      make_algorithm: Function from (P, K, L) to the algorithm.
      options: Options of the selector.
      first_generation: Function that makes the first generation.
      explores: True to evaluate ⌈P / 4⌉ random neighbours of the front per generation as well, on
        up to `SMALL` clients × layers.

    Returns:
      A jitted `Select`.
    """

    def find(key: jax.Array, problem: Problem, seeds_PKL: jax.Array) -> jax.Array:
        algorithm = make_algorithm(options.population, *problem.scores_KL.shape)
        key_seed, key_run = jax.random.split(key)
        first = first_generation(key_seed, problem, options.population, seeds_PKL)
        small = explores and problem.scores_KL.size <= SMALL
        neighbours = -(-options.population // 4) if small else 0
        archive = evolve(
            algorithm, key_run, problem, first, options.generations, neighbours=neighbours
        )
        return external_archive.members(archive, options.population)[0]

    return selector.make_select(find, options)


def evolve(
    algorithm: Algorithm,
    key: jax.Array,
    problem: Problem,
    first: Choices,
    generations: int,
    *,
    neighbours: int = 0,
) -> ExternalArchive:
    """Runs the generations of an algorithm.

    Args:
      algorithm: Algorithm made for the shapes of the problem.
      key: Random key.
      problem: Problem of this round.
      first: First generation.
      generations: Number of generations.
      neighbours: N, number of random neighbours of the front to evaluate per generation.

    Returns:
      The archive of all evaluated choices, P (G + 1) + N G of them.
    """
    params = algorithm.params_for(problem, generations)
    key_init, key_run = jax.random.split(key)
    objectives_PM = first.objectives()
    state = algorithm.init(key_init, first, objectives_PM, params)
    archive = external_archive.make_external_archive(problem, first)

    def generation(
        carry: tuple[Any, ExternalArchive], keys: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[Any, ExternalArchive], None]:
        state, archive = carry
        (key_ask, key_tell), key_near = keys
        population, state = algorithm.ask(key_ask, state, params)
        objectives_PM = population.objectives()
        state, _ = algorithm.tell(key_tell, population, objectives_PM, state, params)
        archive = external_archive.add(archive, population, objectives_PM)
        if neighbours:
            near = random_neighbours(key_near, problem, archive, neighbours)
            archive = external_archive.add(archive, near, near.objectives())
        return (state, archive), None

    # A stream of its own, so that the algorithm draws the same with and without neighbours.
    keys_near = jax.random.split(jax.random.fold_in(key_run, 1), generations)
    keys = jax.random.split(key_run, (generations, 2)), keys_near
    return jax.lax.scan(generation, (state, archive), keys)[0][1]
