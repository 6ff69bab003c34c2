"""Frequency of Lanczos runs that stop at the second eigenvalue, and their iterations, by start.

Two layers have kernels with nearly the same eigenvectors; the start vector of the lower one varies.
Their two largest eigenvalues are in the same order, or swapped between the layers.

    python -m benchmarks.starts --gap 0.03
"""

import argparse
import collections
from collections.abc import Callable
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from f3ocus_jax.importance import eigenproblem, methods, spectrum

SIZE = 400
TURNS = (0.01, 0.1, 0.3)
"""How far the upper layer's eigenvectors are turned; 0.3 leaves 0.96 of their length in place."""

SHARES = {
    "image and random": {"IMAGE": eigenproblem.IMAGE, "RANDOM": eigenproblem.RANDOM},
    "random": {"IMAGE": 0.0, "RANDOM": 0.3},
    "random alone": {"IMAGE": 0.0, "RANDOM": 1e6},
}
"""By name: what stands in `eigenproblem` for the lower layer's start."""


class Kernels:
    """Given kernels, in place of a linearised network.

    Attributes:
      outputs: Zeros, [1, D].
      num_layers: L.
    """

    def __init__(self, kernels_LDD: jax.Array) -> None:
        self.num_layers, size, _ = kernels_LDD.shape
        self.outputs = jnp.zeros((1, size))
        self._kernels_LDD = kernels_LDD

    def kernel_product(self, layer: jax.Array) -> Callable[[jax.Array], jax.Array]:
        """Returns v -> Θ_l v, [1, D]."""
        return lambda vector: vector @ self._kernels_LDD[layer]


def decays(gap: float) -> list[np.ndarray]:
    """Returns eigenvalues, [D], of several kinds: 1, 1 - gap and smaller ones."""
    index = np.arange(1, SIZE - 1)
    below = 1 - gap
    rest = [
        0.9 * below / index,
        0.9 * below / index**2,
        0.8 * below * 0.9**index,
        0.95 * below * (1 - index / SIZE),
        0.2 * (1 - index / SIZE),
    ]
    return [np.concatenate([[1, below], values]) for values in rest]


def pair_of_kernels(
    values: np.ndarray, turn: float, rng: np.random.Generator, *, crossed: bool
) -> np.ndarray:
    """Returns the lower and the upper layer's kernel, [2, D, D]."""
    upper = values * np.exp(0.1 * rng.normal(size=SIZE))
    upper[:2] = values[1::-1] if crossed else values[:2]
    upper[2:] = np.minimum(upper[2:], 0.97 * values[1])
    skew = rng.normal(size=(SIZE, SIZE))
    rotation = scipy.linalg.expm(turn * (skew - skew.T) / np.sqrt(2 * SIZE))
    return np.stack([np.diag(values), (rotation * upper) @ rotation.T])


def solver(shares: dict[str, float], seeds: int) -> Callable:
    """Compiles kernels [2, D, D] -> values and iterations of the lower layer, [2, seeds]."""

    def solve(kernels_LDD: jax.Array, seed: jax.Array) -> jax.Array:
        network, key = Kernels(kernels_LDD), jax.random.key(seed)
        problem = spectrum.make_eigenproblem(network, None, 1, 1e-4, 64, key, None)
        pairs = methods.lanczos_method(problem)
        return jnp.stack([pairs.value[0, 0], pairs.iterations[0, 0].astype(jnp.float32)])

    def run(kernels_LDD: jax.Array) -> jax.Array:
        return jax.lax.map(lambda seed: solve(kernels_LDD, seed), jnp.arange(seeds)).T

    shape = jax.ShapeDtypeStruct((2, SIZE, SIZE), jnp.float32)
    with mock.patch.multiple(eigenproblem, **shares):
        return jax.jit(run).lower(shape).compile()


def main() -> None:
    """Prints how many starts ended at the second eigenvalue, and the mean of their iterations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gap", type=float, default=0.03, help="between the two largest, relative")
    parser.add_argument("--seeds", type=int, default=60)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    solvers = {name: solver(shares, arguments.seeds) for name, shares in SHARES.items()}
    for crossed in (False, True):
        found = collections.defaultdict(list)
        for values in decays(arguments.gap):
            for turn in TURNS:
                kernels = pair_of_kernels(values, turn, rng, crossed=crossed).astype(np.float32)
                for name, solve in solvers.items():
                    found[name].append(np.array(solve(kernels)))
        print("eigenvalues swapped:" if crossed else "same order:")
        for name, pieces in found.items():
            values, iterations = np.concatenate(pieces, axis=1)
            second = np.mean(values < 1 - arguments.gap / 2)
            print(f"  {name:<18} {iterations.mean():5.1f} iterations, {second:6.1%} at the second")


if __name__ == "__main__":
    main()
