"""Sizes of a T5."""

import dataclasses

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import sizes


@dataclasses.dataclass(frozen=True)
class T5Config:
    """Sizes of a T5 by their Hugging Face names, with the defaults of transformers.

    Attributes:
      model_type: "t5".
      vocab_size: Entries of the tokenizer's vocabulary.
      d_model: D.
      d_kv: Dimensions of a head.
      d_ff: Width of the feed-forward layer.
      num_layers: Number of blocks of the encoder.
      num_decoder_layers: Number of blocks of the decoder; 0 for as many as the encoder has.
      num_heads: Number of heads.
      relative_attention_num_buckets: Number of buckets of distances between tokens.
      relative_attention_max_distance: Distance, in tokens, from which on all share one bucket.
      layer_norm_epsilon: Epsilon of every norm.
      feed_forward_proj: "relu", "gated-gelu" or "gated-silu".
      n_positions: Longest question, in tokens, by convention; nothing in the model bounds it.
      tie_word_embeddings: Must be False: the output projection is a matrix of its own, as in
        flan-T5.
      eos_token_id: Token id that ends a generated text.
      pad_token_id: Token id after the end.
      decoder_start_token_id: Token id that starts a generated text.
    """

    model_type: str = "t5"
    vocab_size: int = 32128
    d_model: int = 512
    d_kv: int = 64
    d_ff: int = 2048
    num_layers: int = 6
    num_decoder_layers: int = 0
    num_heads: int = 8
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    layer_norm_epsilon: float = 1e-6
    feed_forward_proj: str = "relu"
    n_positions: int = 512
    tie_word_embeddings: bool = False
    eos_token_id: int = 1
    pad_token_id: int = 0
    decoder_start_token_id: int = 0

    def __post_init__(self) -> None:
        if not self.num_decoder_layers:
            object.__setattr__(self, "num_decoder_layers", self.num_layers)
        tokens = ("eos_token_id", "pad_token_id", "decoder_start_token_id")
        sizes.check(
            self,
            "text",
            minimums={**dict.fromkeys(tokens, 0), "relative_attention_num_buckets": 4},
            choices={
                "model_type": ("t5",),
                "feed_forward_proj": ("relu", "gated-gelu", "gated-silu"),
                "tie_word_embeddings": (False,),
            },
        )
        buckets, farthest = (
            self.relative_attention_num_buckets,
            self.relative_attention_max_distance,
        )
        if farthest <= buckets // 2 or buckets % 2:
            raise ConfigError(
                f"text relative_attention_num_buckets = {buckets}, must be even and below "
                f"2 · relative_attention_max_distance = {2 * farthest}"
            )

    @property
    def hidden_size(self) -> int:
        """D."""
        return self.d_model

    @property
    def num_hidden_layers(self) -> int:
        """Number of blocks of the encoder."""
        return self.num_layers

    @property
    def max_position_embeddings(self) -> int:
        """Longest question, in tokens."""
        return self.n_positions

    @property
    def activation(self) -> tuple[str, bool]:
        """(activation of the feed-forward layer, True if it gates a second linear map)."""
        is_gated = self.feed_forward_proj.startswith("gated-")
        name = self.feed_forward_proj.removeprefix("gated-")
        return ("gelu_new" if name == "gelu" else name), is_gated
