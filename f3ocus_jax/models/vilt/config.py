"""How large is a ViLT, and which sizes are possible?"""

import dataclasses

from f3ocus_jax.models import sizes
from f3ocus_jax.models.blocks.activations import ACTIVATIONS

STACKS = ("blocks",)


@dataclasses.dataclass(frozen=True)
class ViltConfig:
    """Sizes of a ViLT by their Hugging Face names; the defaults are those of ViLT-B/32.

    Attributes:
      num_answers: classes of the answer head; 0 for none.
      adapter_size: bottleneck of the adapter in every block; 0 for none.
      selectable: the one stack there is.
      answering: "classify": it has no decoder.
      image_mean: of the pixels, as `vision.normalise` takes it.
      image_std: of the pixels.
      vocab_size: entries of the tokenizer's vocabulary.
      type_vocab_size: kinds of text segment; only the first is used.
      modality_type_vocab_size: kinds of input; the first is text, the second an image.
      max_position_embeddings: longest question, in tokens.
      hidden_size: D.
      num_hidden_layers: L.
      num_attention_heads: heads, each of D / heads dimensions.
      intermediate_size: width of the feed-forward part.
      hidden_act: its activation, a key of `ACTIVATIONS`.
      layer_norm_eps: of every LayerNorm but the head's.
      image_size: side of the square image, in pixels.
      patch_size: side of a patch, in pixels.
      num_channels: of the image.
      qkv_bias: whether queries, keys and values have a bias.
    """

    num_answers: int
    adapter_size: int = 0
    selectable: str = STACKS[0]
    answering: str = sizes.CLASSIFY
    image_mean: tuple[float, ...] = (0.5,)
    image_std: tuple[float, ...] = (0.5,)
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
            "ViLT",
            minimums={"adapter_size": 0, "num_answers": 0, "modality_type_vocab_size": 2},
            choices={"hidden_act": tuple(ACTIVATIONS), "selectable": STACKS},
            multiples=(("hidden_size", "num_attention_heads"), ("image_size", "patch_size")),
        )
        sizes.check_pixels(self, "ViLT", self.num_channels)

    @property
    def num_patches(self) -> int:
        """Patches of an image."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def rows(self) -> tuple[int, int]:
        """(L, D): how many blocks can be chosen, and how wide they are."""
        return self.num_hidden_layers, self.hidden_size
