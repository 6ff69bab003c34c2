"""XLA flag that keeps jaxlib 0.10 from compiling some sums wrongly on CPUs.

jaxlib 0.10 hands a sum over the last axis of a product, whose other factor is broadcast along the
first axis, to YNNPACK as one fusion. The result is right in the first slice alone: the gradient of
a LayerNorm or an RMSNorm under `jax.vmap` is off by tens of per cent in arrays of half a million
numbers (it is right up to 280 000). The flag and the fusion exist for CPUs alone.

This module must not import JAX: `import f3ocus_jax` imports it.
"""

import importlib.metadata
import os
from collections.abc import Sequence

from f3ocus_jax.errors import CompilerError

FLAG = "--xla_cpu_experimental_ynn_fusion_type"
WITHOUT_SUMS = f"{FLAG}=-reduce"
"""Disables the fusion of sums and keeps those of matrix products, which are right and fast."""


def set_flags() -> None:
    """Disables the fusion of sums on CPUs; has an effect until JAX first uses a device."""
    add_flags([], of_affected=[WITHOUT_SUMS])


def add_flags(flags: Sequence[str], *, of_affected: Sequence[str]) -> None:
    """Adds flags to the environment variable `XLA_FLAGS`, except those that it already sets.

    Args:
      flags: Flags such as "--xla_backend_optimization_level=0".
      of_affected: Flags for jaxlib 0.10 alone. Other versions may not know them, and an unknown
        flag ends the program.
    """
    affected = importlib.metadata.version("jaxlib").startswith("0.10.")
    for flag in [*flags, *(of_affected if affected else ())]:
        given = os.environ.get("XLA_FLAGS", "")
        if flag.partition("=")[0] not in given:
            os.environ["XLA_FLAGS"] = f"{given} {flag}".strip()


def check() -> None:
    """Compares a compiled gradient that is known to be affected with the uncompiled one.

    Raises:
      CompilerError: If they differ.
    """
    import jax
    import jax.numpy as jnp

    def normalised(x: jax.Array) -> jax.Array:
        return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-5)

    def gradients(x: jax.Array, cotangents: jax.Array) -> jax.Array:
        return jax.vmap(lambda one: jax.vjp(normalised, x)[1](one)[0])(cotangents)

    x = jax.random.normal(jax.random.key(0), (16, 17, 64))
    cotangents = jax.random.normal(jax.random.key(1), (32, *x.shape))
    worst = jnp.max(jnp.abs(jax.jit(gradients)(x, cotangents) - gradients(x, cotangents)))
    if not worst < 1e-3:
        raise CompilerError(
            f"this compiler's gradients are wrong by {float(worst):.2g}: set XLA_FLAGS="
            f"{WITHOUT_SUMS} before Python starts, or import f3ocus_jax before JAX is used"
        )
