"""Is the top eigenvector found by a layer whose neighbour's is the second one here?"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.starts import Kernels
from f3ocus_jax.importance import methods, spectrum
from tests.helpers.oracles import kernel_with

CLOSE = 0.97


@pytest.mark.parametrize(
    "rest",
    [CLOSE * 0.8 * 0.9 ** np.arange(398), 0.2 * np.linspace(1, 0, 398)],
    ids=["exponential", "outliers"],
)
def test_eigenvalues_that_cross_between_layers_are_found(rest):
    """The first layer's top eigenvector is the second one's second."""
    kernels_LDD = [kernel_with([*pair, *rest]) for pair in ([1.0, CLOSE], [CLOSE, 1.0])]
    linearised = Kernels(jnp.asarray(kernels_LDD, jnp.float32))

    @jax.jit
    def solve(seed):
        key = jax.random.key(seed)
        problem = spectrum.make_eigenproblem(linearised, None, 1, 1e-4, 64, key, None)
        return methods.lanczos_method(problem)

    for seed in range(40):
        pairs = solve(seed)
        np.testing.assert_array_less(pairs.residual, 1e-4)
        np.testing.assert_allclose(pairs.value, 1.0, rtol=1e-4)
