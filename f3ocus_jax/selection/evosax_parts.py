"""The parts of evosax in use, imported without starting a JAX backend.

evosax 0.3 makes a JAX array when it is imported, which would start the backend, and
`jax.distributed.initialize` must come before that. NumPy's array serves it as well.
"""

import unittest.mock

import jax.numpy as jnp
import numpy as np

with unittest.mock.patch.object(jnp, "asarray", np.asarray):
    from evosax.algorithms import algorithms, population_based_algorithms
    from evosax.algorithms.base import Params
    from evosax.algorithms.population_based.base import PopulationBasedAlgorithm

__all__ = ["Params", "PopulationBasedAlgorithm", "algorithms", "population_based_algorithms"]
