"""Sizes of ViLT."""

import dataclasses
from typing import ClassVar

from f3ocus_jax.models import sizes
from f3ocus_jax.models.blocks.activations import ACTIVATIONS
from f3ocus_jax.models.spec import Stack


@dataclasses.dataclass(frozen=True)
class ViltConfig:
    """Sizes of a ViLT by their Hugging Face names; the defaults are those of ViLT-B/32.

    Attributes:
      vocab_size: Number of entries in the tokenizer's vocabulary.
      type_vocab_size: Number of text segment types; only the first is used.
      modality_type_vocab_size: Number of modalities; the first is text, the second an image.
      max_position_embeddings: Longest question, in tokens.
      hidden_size: D.
      num_hidden_layers: L.
      num_attention_heads: Number of heads, each of D / heads dimensions.
      intermediate_size: Width of the feed-forward part.
      hidden_act: Activation of the feed-forward part, a key of `ACTIVATIONS`.
      layer_norm_eps: Epsilon of every LayerNorm but the head's.
      image_size: Side of the square image, in pixels.
      patch_size: Side of a patch, in pixels.
      num_channels: Channels of the image.
      qkv_bias: True if queries, keys and values have a bias.
    """

    NAME: ClassVar[str] = "ViLT"

    vocab_size: int = 30522
    type_vocab_size: int = 2
    modality_type_vocab_size: int = 2
    max_position_embeddings: int = 40
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    image_size: int = 384
    patch_size: int = 32
    num_channels: int = 3
    qkv_bias: bool = True

    def __post_init__(self) -> None:
        sizes.check(
            self,
            self.NAME,
            minimums={"modality_type_vocab_size": 2},
            choices={"hidden_act": tuple(ACTIVATIONS)},
            multiples=(("hidden_size", "num_attention_heads"), ("image_size", "patch_size")),
        )

    @property
    def num_patches(self) -> int:
        """Number of patches of the image."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def stacks(self) -> dict[str, Stack]:
        """The one stack."""
        return {"blocks": Stack("blocks", self.num_hidden_layers, self.hidden_size)}

    def with_image_size(self, image_size: int) -> "ViltConfig":
        """Returns the same sizes for images of another side."""
        return dataclasses.replace(self, image_size=image_size)
