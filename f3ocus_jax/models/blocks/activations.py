"""Activation functions, written to keep little for the backward pass."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp


@jax.custom_jvp
def gelu(inputs: jax.Array) -> jax.Array:
    """Gaussian error linear unit, x Φ(x), in its exact form (Hendrycks & Gimpel, 2016).

    Differentiation keeps one array, the slope, where `jax.nn.gelu` keeps three. These are the
    largest arrays that a block keeps for its backward pass.

    Args:
      inputs: Float array of any shape.

    Returns:
      Activations, of the same shape and dtype.
    """
    return inputs * _normal_distribution(inputs)


@gelu.defjvp
def _gelu_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    (inputs,), (tangent,) = primals, tangents
    distribution = _normal_distribution(inputs)
    density = jnp.exp(-0.5 * jnp.square(inputs)) / math.sqrt(2.0 * math.pi)
    return inputs * distribution, tangent * (distribution + inputs * density)


def _normal_distribution(inputs: jax.Array) -> jax.Array:
    """Returns Φ, the distribution function of the standard normal."""
    # erfc would keep the digits of large negative inputs, where Φ is nearly 0, but takes 2.5 times
    # as long; the product x Φ(x) is off by less than two roundings of x either way.
    return 0.5 + 0.5 * jax.lax.erf(inputs / math.sqrt(2.0))


def quick_gelu(inputs: jax.Array) -> jax.Array:
    """Returns x sigmoid(1.702 x), the gelu that CLIP was trained with."""
    return inputs * jax.nn.sigmoid(1.702 * inputs)


def gelu_new(inputs: jax.Array) -> jax.Array:
    """Returns the tanh approximation of the gelu, which T5, GPT and SigLIP were trained with."""
    return jax.nn.gelu(inputs, approximate=True)


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": gelu,
    "gelu_new": gelu_new,
    "gelu_pytorch_tanh": gelu_new,
    "quick_gelu": quick_gelu,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}
"""Activations by their names in Hugging Face's configs."""
