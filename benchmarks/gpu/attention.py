"""Attention in bfloat16 by `jax.nn.dot_product_attention`, with XLA and with cuDNN."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.gpu import lines

SHAPES = {"vilt_b32": (32, 185, 12, 64), "llava_1_5_7b": (16, 616, 32, 128)}
TINY_SHAPES = {"tiny": (2, 16, 2, 8)}
"""Examples, tokens, heads and width of a head."""

IMPLEMENTATIONS = ("xla", "cudnn")


def attention(implementation: str, query: Any, key: Any, value: Any) -> jax.Array:
    """Runs attention by an implementation of JAX."""
    return jax.nn.dot_product_attention(query, key, value, implementation=implementation)


def passes(implementation: str) -> dict[str, Callable[..., Any]]:
    """Returns what is measured, as functions of queries, keys and values."""
    run = functools.partial(attention, implementation)
    return {
        "forward": run,
        "gradient": jax.grad(
            lambda *inputs: jnp.sum(run(*inputs).astype(jnp.float32)), argnums=(0, 1, 2)
        ),
        "jvp": lambda *inputs: jax.jvp(run, inputs, inputs),
    }


def difference(found: Any, expected: Any) -> float:
    """Returns the largest difference, relative to the largest expected number."""

    def of_leaf(ours: jax.Array, theirs: jax.Array) -> float:
        gap = jnp.max(jnp.abs(ours.astype(jnp.float32) - theirs))
        return float(gap / jnp.max(jnp.abs(theirs)))

    return max(jax.tree.leaves(jax.tree.map(of_leaf, found, expected)))


def measure(implementation: str, name: str, inputs: tuple[jax.Array, ...]) -> dict[str, Any]:
    """Measures one pass; one that cannot run gives its error."""
    try:
        run = jax.jit(passes(implementation)[name])
        row: dict[str, Any] = lines.measure(functools.partial(run, *inputs))
        exact = tuple(each.astype(jnp.float32) for each in inputs)
        with jax.default_matmul_precision("highest"):
            expected = jax.jit(passes("xla")[name])(*exact)
        return row | {"relative_error": difference(run(*inputs), expected)}
    except Exception as error:  # Each version of cuDNN refuses in another way.
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0]}"[:200]}


def main() -> None:
    """Runs the part."""
    given = lines.parse(__doc__.splitlines()[0])
    for model, shape in (TINY_SHAPES if given.tiny else SHAPES).items():
        keys = jax.random.split(jax.random.key(0), 3)
        inputs = tuple(jax.random.normal(key, shape, jnp.bfloat16) for key in keys)
        for implementation in IMPLEMENTATIONS:
            for name in passes(implementation):
                row = {"model": model, "implementation": implementation, "pass": name}
                found = measure(implementation, name, inputs)
                lines.write(given.out, "attention", row | found | {"tiny": given.tiny})


if __name__ == "__main__":
    main()
