"""Products and true errors of Lanczos that accepts by the residual, or by the estimated error.

    python -m benchmarks.estimates [--spectra 1000] [--json FILE]

Spectra of 400 eigenvalues, 1, 1 - gap and smaller ones of several kinds (`starts.decays`), with
gaps from 1e-5 to 0.5 drawn log-uniformly, so that half are near-degenerate. Start vectors are those
of the first layer, random, and of a layer below another one whose eigenvectors are near: with the
same order, or with the two largest swapped, so that the start is near the second one.
"""

import argparse
import itertools
import pathlib
import platform
from collections.abc import Callable
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import reporting, starts
from f3ocus_jax.importance import eigenproblem, lanczos

TOLERANCE = 1e-4
MAX_ITERATIONS = 64
GAPS = (1e-5, 1e-3, 1e-2, 1e-1, 0.5)
"""Limits of the bands that errors are counted in."""

STARTS = ("random", "near the first", "near the second")


def draw(spectra: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws (gaps [S], eigenvalues [S, D])."""
    rng = np.random.default_rng(0)
    gaps_S = 10 ** rng.uniform(np.log10(GAPS[0]), np.log10(GAPS[-1]), spectra)
    kinds_S = rng.integers(0, len(starts.decays(0.1)), spectra)
    pairs = zip(gaps_S, kinds_S, strict=True)
    values_SD = np.stack([starts.decays(gap)[kind] for gap, kind in pairs])
    below_SD = np.minimum(values_SD, 1 - gaps_S[:, None])  # one kind ends in larger ones
    below_SD[:, 0] = 1.0
    return gaps_S, below_SD.astype(np.float32)


def start_vector(kind: str, key: jax.Array, values_D: jax.Array) -> jax.Array:
    """Returns a start as `Eigenproblem.start_vectors` mixes it; eigenvectors are the axes."""
    first, second = (jax.random.normal(each, values_D.shape) for each in jax.random.split(key))
    if kind == "random":
        return first
    known_D = jnp.zeros_like(values_D).at[STARTS.index(kind) - 1].set(1.0)
    image_D = values_D * second
    image_D = eigenproblem.IMAGE * image_D / jnp.linalg.norm(image_D)
    return known_D + image_D + eigenproblem.RANDOM * first / jnp.linalg.norm(first)


def solver(kind: str, accept: str) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Compiles (keys [S], values [S, D]) -> true error, accepted error and products, [S, 3]."""

    def solve(inputs: tuple[jax.Array, jax.Array]) -> jax.Array:
        key, values_D = inputs
        pair, _ = lanczos.largest_eigenvalue(
            lambda vector: values_D * vector,
            start_vector(kind, key, values_D),
            tolerance=TOLERANCE,
            max_iterations=MAX_ITERATIONS,
            accept=accept,
        )
        return jnp.stack([1 - pair.value, pair.residual, pair.iterations.astype(jnp.float32)])

    return jax.jit(lambda keys_S, values_SD: jax.lax.map(solve, (keys_S, values_SD)))


def measure(spectra: int) -> list[dict[str, Any]]:
    """Returns a row for each start, way to accept and band of gaps, and one for all bands."""
    gaps_S, values_SD = draw(spectra)
    keys_S = jax.random.split(jax.random.key(0), spectra)
    rows = []
    for kind in STARTS:
        for accept in lanczos.ACCEPTS:
            found_S3 = np.asarray(solver(kind, accept)(keys_S, values_SD))
            bands = [("all", np.ones(spectra, bool))]
            bands += [
                (f"{low:g} to {high:g}", (gaps_S >= low) & (gaps_S <= high))
                for low, high in itertools.pairwise(GAPS)
            ]
            rows += [
                {"start": kind, "accept": accept, "gap": name} | describe(found_S3[chosen])
                for name, chosen in bands
            ]
    return rows


def describe(found_S3: np.ndarray) -> dict[str, Any]:
    """Returns numbers of spectra, products, and errors of a part of the spectra."""
    errors_S, accepted_S, products_S = found_S3.T
    return {
        "spectra": len(errors_S),
        "products": float(products_S.mean()),
        "within": float(np.mean(errors_S <= TOLERANCE)),
        "converged": float(np.mean(accepted_S <= TOLERANCE)),
        "wrong": int(np.sum((accepted_S <= TOLERANCE) & (errors_S > TOLERANCE))),
        "largest_error": float(errors_S.max()),
    }


def main() -> None:
    """Prints the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spectra", type=int, default=1000)
    parser.add_argument("--json", type=pathlib.Path, help="where to write rows and summary")
    given = parser.parse_args()
    rows = measure(given.spectra)
    for row in rows:
        print(
            f"{row['start']:<16} {row['accept']:<9} gap {row['gap']:<14} {row['spectra']:>5} "
            f"{row['products']:>5.1f} products, error within {TOLERANCE}: {row['within']:>7.2%}, "
            f"accepted {row['converged']:>7.2%}, {row['wrong']} of them wrong, "
            f"largest error {row['largest_error']:.1e}"
        )
    whole = [row for row in rows if row["gap"] == "all"]
    summary = {f"{row['accept']}, {row['start']}: within": row["within"] for row in whole}
    versions = {name: metadata.version(name) for name in ("jax", "jaxlib", "numpy")}
    reporting.write(given.json, platform.machine(), versions, rows, summary)


if __name__ == "__main__":
    main()
