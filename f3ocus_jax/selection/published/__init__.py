"""The paper's five metaheuristics as their publications describe them, without local search.

Each starts from a random population in every round, evaluates P choices per generation, and gets
its budgets by repair. What is as published and what is adapted stands in each module.
"""

from f3ocus_jax.selection.published.annealing import PublishedAnnealing
from f3ocus_jax.selection.published.ant_colony import PublishedAntColony
from f3ocus_jax.selection.published.bee_colony import PublishedBeeColony
from f3ocus_jax.selection.published.feasible import random_population
from f3ocus_jax.selection.published.mopso import PublishedMOPSO
from f3ocus_jax.selection.published.nsga2 import PublishedNSGA2

PUBLISHED = {
    "nsga2": PublishedNSGA2,
    "abc": PublishedBeeColony,
    "aco": PublishedAntColony,
    "sa": PublishedAnnealing,
    "mopso": PublishedMOPSO,
}
"""The five metaheuristics of the paper as published, by name."""

__all__ = ["PUBLISHED", "random_population"]
