"""Q-Former (Li et al., 2023): learned queries that attend to the states of an image encoder.

Its blocks are BERT's, and only every n-th of them attends to the image. A group is n consecutive
blocks, of which the first one attends to the image; all groups have the same parameters' shapes.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from f3ocus_jax.models import sizes, stacks
from f3ocus_jax.models.blocks import bert, layers, modules
from f3ocus_jax.models.blocks.activations import ACTIVATIONS
from f3ocus_jax.models.blocks.bert import BertBlock
from f3ocus_jax.models.blocks.layers import Adapt, identity
from f3ocus_jax.types import Params, Rows

ATTENDING = "looking"
"""Name of the block of a group that attends to the image."""


@dataclasses.dataclass(frozen=True)
class QFormerConfig:
    """Sizes of a Q-Former by their Hugging Face names; the defaults are transformers'.

    Attributes:
      model_type: Always "blip_2_qformer".
      hidden_size: D.
      num_hidden_layers: Number of blocks.
      num_attention_heads: Number of heads, each of D / heads dimensions.
      intermediate_size: Width of the feed-forward part.
      hidden_act: Activation of the feed-forward part, a key of `ACTIVATIONS`.
      layer_norm_eps: Epsilon of every LayerNorm.
      cross_attention_frequency: n; every n-th block, from the first on, attends to the image.
      use_qformer_text_input: Always False; the Q-Former reads no text.
    """

    model_type: str = "blip_2_qformer"
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    cross_attention_frequency: int = 2
    use_qformer_text_input: bool = False

    def __post_init__(self) -> None:
        sizes.check(
            self,
            "qformer",
            choices={
                "model_type": ("blip_2_qformer",),
                "hidden_act": tuple(ACTIVATIONS),
                "use_qformer_text_input": (False,),
            },
            multiples=(
                ("hidden_size", "num_attention_heads"),
                ("num_hidden_layers", "cross_attention_frequency"),
            ),
        )

    @property
    def groups(self) -> int:
        """Number of groups of blocks."""
        return self.num_hidden_layers // self.cross_attention_frequency

    @property
    def kinds(self) -> list[str]:
        """Names of a group's blocks, in their order."""
        others = range(1, self.cross_attention_frequency)
        return [ATTENDING, *(f"plain_{index}" for index in others)]


class Queries(nn.Module):
    """The learned queries, normed as the first block's input."""

    config: QFormerConfig
    count: int

    @nn.compact
    def __call__(self, examples: int) -> jax.Array:
        """Returns the same hidden_BQD for so many examples."""
        width = self.config.hidden_size
        normal = nn.initializers.normal(width**-0.5)
        token_QD = self.param("token", normal, (self.count, width))
        normed_QD = layers.layer_norm(self.config.layer_norm_eps, "norm")(token_QD)
        return jnp.broadcast_to(normed_QD[None], (examples, self.count, width))


def init(config: QFormerConfig, key: jax.Array, queries: int, image_width: int) -> Params:
    """Draws a fresh Q-Former.

    Args:
      config: Sizes.
      key: Typed random key.
      queries: Number of queries.
      image_width: Width of the image encoder's states.

    Returns:
      The submodules "queries", and "qformer_blocks" with one row per group.
    """
    queries_key, blocks_key = jax.random.split(key)

    def init_group(key: jax.Array) -> Rows:
        keys = jax.random.split(key, len(config.kinds))
        return {
            kind: _init_block(config, keys[index], image_width if kind == ATTENDING else None)
            for index, kind in enumerate(config.kinds)
        }

    return {
        "queries": modules.init(Queries(config, queries), queries_key, 1),
        "qformer_blocks": stacks.draw(init_group, blocks_key, config.groups),
    }


def start(config: QFormerConfig, params: Params, examples: int) -> jax.Array:
    """Returns the hidden_BQD that the first block reads."""
    queries = params["token"].shape[0]
    return modules.apply(Queries(config, queries), params, examples)


def apply_group(
    config: QFormerConfig,
    row: Rows,
    hidden_BQD: jax.Array,
    image_BSD: jax.Array,
    adapt: Adapt = identity,
) -> jax.Array:
    """Runs one group.

    Args:
      config: Sizes.
      row: Blocks of the group by name.
      hidden_BQD: Input of the group.
      image_BSD: States of the image encoder.
      adapt: Function of the feed-forward output of the last block.

    Returns:
      hidden_BQD.
    """
    for kind in config.kinds:
        states = image_BSD if kind == ATTENDING else None
        last = adapt if kind == config.kinds[-1] else identity
        hidden_BQD = bert.apply_block(
            config, row[kind], hidden_BQD, None, states, adapt=last, name=kind
        )
    return hidden_BQD


def run(
    config: QFormerConfig, rows: Rows, hidden_BQD: jax.Array, image_BSD: jax.Array
) -> jax.Array:
    """Runs all groups of a Q-Former that is not selectable."""
    return stacks.run(
        lambda row, hidden: apply_group(config, row, hidden, image_BSD), rows, hidden_BQD
    )


def _init_block(config: QFormerConfig, key: jax.Array, states_width: int | None) -> Rows:
    hidden_BTD = jnp.zeros((1, 1, config.hidden_size))
    states = None if states_width is None else jnp.zeros((1, 1, states_width))
    return modules.init(BertBlock(config), key, hidden_BTD, None, states, None, identity)
