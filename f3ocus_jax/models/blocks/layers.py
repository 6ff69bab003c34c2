"""Layers of transformer blocks: linear, LayerNorm, attention, feed-forward.

The functions create their parameters in the compact flax module that calls them.
"""

from collections.abc import Callable
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from f3ocus_jax.models.blocks.activations import ACTIVATIONS

Adapt = Callable[[jax.Array], jax.Array]
"""Function of the feed-forward layer's output, applied before its residual sum."""


def identity(hidden_BTD: jax.Array) -> jax.Array:
    """Returns its input; the `Adapt` of a block without adapters."""
    return hidden_BTD


class BlockSizes(Protocol):
    """Sizes of a transformer block by their Hugging Face names."""

    @property
    def hidden_size(self) -> int:
        """D."""

    @property
    def num_attention_heads(self) -> int:
        """Number of heads, each of D / heads dimensions."""

    @property
    def intermediate_size(self) -> int:
        """Width of the feed-forward layer."""

    @property
    def hidden_act(self) -> str:
        """Activation of the feed-forward layer, a key of `ACTIVATIONS`."""

    @property
    def layer_norm_eps(self) -> float:
        """Epsilon of every LayerNorm."""


class KeyDense(nn.Dense):
    """Linear map to attention keys, whose bias has no gradient.

    The bias adds the same number to all logits of a query, which the softmax ignores. Its gradient
    is 0 but for rounding, which Adam would turn into steps of full size. Keys that are rotated by
    their position, as Llama's are, are another matter.
    """

    def param(self, name: str, *arguments: Any, **settings: Any) -> Any:
        """Returns a parameter as `nn.Dense` does; the bias is constant to derivatives."""
        value = super().param(name, *arguments, **settings)
        return jax.lax.stop_gradient(value) if name == "bias" else value


def linear(
    width: int,
    name: str,
    hidden_BTD: jax.Array,
    *,
    use_bias: bool = True,
    is_key: bool = False,
) -> jax.Array:
    """Applies a linear map to every token.

    Args:
      width: Width of the result.
      name: Name of the parameters.
      hidden_BTD: Hidden states of the tokens.
      use_bias: True if the map has a bias.
      is_key: True for attention keys that are not rotated, see `KeyDense`.

    Returns:
      [B, T, width].
    """
    batch, tokens, _ = hidden_BTD.shape
    # As one matrix, the gradient of the weights needs no transposed copies: a tenth less time.
    rows = hidden_BTD.reshape(batch * tokens, -1)
    kind = KeyDense if is_key else nn.Dense
    mapped = kind(width, use_bias=use_bias, name=name)(rows)
    return mapped.reshape(batch, tokens, width)


def layer_norm(epsilon: float, name: str) -> nn.LayerNorm:
    """Returns a LayerNorm."""
    # The fast variance, mean(x²) - mean(x)², loses the digits that parity with torch needs.
    return nn.LayerNorm(epsilon, use_fast_variance=False, name=name)


def attention(
    sizes: BlockSizes,
    hidden_BTD: jax.Array,
    states_BSD: jax.Array,
    bias_B11S: jax.Array | None,
    *,
    prefix: str = "",
    use_bias: bool = True,
) -> jax.Array:
    """Computes multi-head attention; self-attention if both inputs are the same array.

    Args:
      sizes: Sizes of the block.
      hidden_BTD: Tokens that the queries are of.
      states_BSD: States that keys and values are of, of any width.
      bias_B11S: Added to the attention logits of every head and query; None if all states are
        visible. An axis of 1 stands for all.
      prefix: Prefix of the parameters' names.
      use_bias: True if queries, keys and values have a bias.

    Returns:
      hidden_BTD, before the residual sum.
    """
    heads, width = sizes.num_attention_heads, sizes.hidden_size
    batch, tokens, _ = hidden_BTD.shape
    # Reshaped once, so that the backward pass keeps one copy for all maps of the same tokens.
    query_rows = hidden_BTD.reshape(batch * tokens, -1)
    is_self = states_BSD is hidden_BTD
    state_rows = query_rows if is_self else states_BSD.reshape(-1, states_BSD.shape[-1])

    def project(name: str, rows: jax.Array) -> jax.Array:
        kind = KeyDense if name == "key" else nn.Dense
        projected = kind(width, use_bias=use_bias, name=f"{prefix}{name}")(rows)
        # Heads lead before the products: on a CPU this halves the time of attention.
        return projected.reshape(batch, -1, heads, width // heads).swapaxes(1, 2)

    query = project("query", query_rows)
    key, value = project("key", state_rows), project("value", state_rows)
    logits = (query * (width // heads) ** -0.5) @ key.swapaxes(-1, -2)
    if bias_B11S is not None:
        logits = logits + bias_B11S
    attention_weights = jax.nn.softmax(logits.astype(jnp.float32), axis=-1).astype(value.dtype)
    mixed = (attention_weights @ value).swapaxes(1, 2)
    return linear(width, f"{prefix}attention_output", mixed.reshape(batch, tokens, width))


def feed_forward(sizes: BlockSizes, hidden_BTD: jax.Array) -> jax.Array:
    """Maps every token through a wider layer and back.

    Args:
      sizes: Sizes of the block.
      hidden_BTD: Hidden states of the tokens.

    Returns:
      hidden_BTD, before the residual sum.
    """
    inner_BTF = linear(sizes.intermediate_size, "intermediate", hidden_BTD)
    inner_BTF = ACTIVATIONS[sizes.hidden_act](inner_BTF)
    return linear(sizes.hidden_size, "output", inner_BTF)


def padding_bias(mask_BT: jax.Array) -> jax.Array:
    """Makes the attention bias that hides padding.

    Args:
      mask_BT: 1 for a token and 0 for padding.

    Returns:
      bias_B11T, float32: 0 for a token, the lowest finite number for padding.
    """
    hidden_BT = jnp.where(mask_BT > 0, 0.0, jnp.finfo(jnp.float32).min)
    return hidden_BT[:, None, None, :]


def prepend_visible(bias_B11T: jax.Array, tokens: int) -> jax.Array:
    """Extends the bias of `padding_bias` by so many visible tokens in front."""
    return jnp.pad(bias_B11T, ((0, 0), (0, 0), (0, 0), (tokens, 0)))
