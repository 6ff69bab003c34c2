"""Bottleneck adapters, which tune a frozen block with few parameters."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from f3ocus_jax.models.blocks import modules
from f3ocus_jax.types import Rows


class BottleneckAdapter(nn.Module):
    """Two linear maps around a ReLU, added to their own input (Houlsby et al., 2019).

    The second map starts at zero, so that a fresh adapter is the identity.

    Attributes:
      bottleneck: Width between the two maps.
    """

    bottleneck: int

    @nn.compact
    def __call__(self, hidden_BTD: jax.Array) -> jax.Array:
        """Returns hidden_BTD plus the adapter's output, of the same shape."""
        inner_BTA = nn.relu(nn.Dense(self.bottleneck, name="down")(hidden_BTD))
        up = nn.Dense(hidden_BTD.shape[-1], kernel_init=nn.initializers.zeros, name="up")
        return hidden_BTD + up(inner_BTA)


def init_stack(key: jax.Array, *, layers: int, width: int, bottleneck: int) -> Rows:
    """Initialises one adapter per block.

    Args:
      key: Typed random key.
      layers: L, number of blocks.
      width: D, width of the hidden states.
      bottleneck: Width between the two maps; 0 for no adapters.

    Returns:
      Adapters with leading axis L, each the identity; `{}` for bottleneck 0.
    """
    if bottleneck == 0:
        return {}
    adapter = BottleneckAdapter(bottleneck)

    def init(key: jax.Array) -> Rows:
        return modules.init(adapter, key, jnp.zeros((1, 1, width)))

    return jax.vmap(init)(jax.random.split(key, layers))


def apply(adapter: Rows, hidden_BTD: jax.Array) -> jax.Array:
    """Runs one adapter.

    Args:
      adapter: One row of the stack; `{}` for none. A dict of several adapters by name runs them
        side by side and averages their outputs, as FedDAT mixes two.
      hidden_BTD: Output of a feed-forward layer, before its residual sum.

    Returns:
      hidden_BTD, adapted.
    """
    if not adapter:
        return hidden_BTD
    if "down" not in adapter:
        outputs = [apply(one, hidden_BTD) for one in adapter.values()]
        return functools.reduce(jnp.add, outputs) / len(outputs)
    bottleneck = adapter["down"]["bias"].shape[-1]
    return modules.apply(BottleneckAdapter(bottleneck), adapter, hidden_BTD)


def apply_keeping_dtype(adapter: Rows, hidden_BTD: jax.Array) -> jax.Array:
    """Runs one float32 adapter of a model that may be in bfloat16.

    Args:
      adapter: Adapter as in `apply`.
      hidden_BTD: Hidden states as in `apply`.

    Returns:
      hidden_BTD, adapted, of its own dtype.
    """
    return apply(adapter, hidden_BTD).astype(hidden_BTD.dtype)
