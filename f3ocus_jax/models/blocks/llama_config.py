"""Sizes of a Llama."""

import dataclasses
import functools

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import sizes
from f3ocus_jax.models.blocks.activations import ACTIVATIONS

MAY_BE_ZERO = ("num_key_value_heads", "head_dim", "eos_token_id", "pad_token_id")


@dataclasses.dataclass(frozen=True)
class RopeConfig:
    """Options of rotary position embeddings (Su et al., 2021).

    Attributes:
      rope_theta: Base of the wavelengths.
      rope_type: "default"; scaled variants are not supported.
    """

    rope_theta: float = 10000.0
    rope_type: str = "default"

    def __post_init__(self) -> None:
        sizes.check(self, "rope_parameters", choices={"rope_type": ("default",)})


@dataclasses.dataclass(frozen=True)
class LlamaConfig:
    """Sizes of a Llama by their Hugging Face names, with the defaults of transformers.

    Attributes:
      model_type: "llama".
      vocab_size: Entries of the tokenizer's vocabulary.
      hidden_size: D.
      num_hidden_layers: Number of blocks.
      num_attention_heads: Number of query heads.
      num_key_value_heads: Number of key and value heads, each shared by equally many query heads
        (Ainslie et al., 2023); 0 for as many as query heads.
      head_dim: Dimensions of a head; 0 for D / heads.
      intermediate_size: Width of the feed-forward layer.
      hidden_act: Activation of the feed-forward layer, a key of `ACTIVATIONS`.
      rms_norm_eps: Epsilon of every norm.
      max_position_embeddings: Longest sequence, in tokens.
      rope_parameters: Options of the rotary position embeddings.
      attention_bias: True if the linear maps of attention have a bias.
      mlp_bias: True if the linear maps of the feed-forward layer have a bias.
      eos_token_id: Token id that ends a generated text.
      pad_token_id: Token id after the end; transformers has no default for it.
    """

    model_type: str = "llama"
    vocab_size: int = 32000
    hidden_size: int = 4096
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int = 0
    head_dim: int = 0
    intermediate_size: int = 11008
    hidden_act: str = "silu"
    rms_norm_eps: float = 1e-6
    max_position_embeddings: int = 2048
    rope_parameters: RopeConfig = dataclasses.field(default_factory=RopeConfig)
    attention_bias: bool = False
    mlp_bias: bool = False
    eos_token_id: int = 2
    pad_token_id: int = 0

    def __post_init__(self) -> None:
        check = functools.partial(sizes.check, self, "text", minimums=dict.fromkeys(MAY_BE_ZERO, 0))
        check(choices={"hidden_act": tuple(ACTIVATIONS), "model_type": ("llama",)})
        if not self.num_key_value_heads:
            object.__setattr__(self, "num_key_value_heads", self.num_attention_heads)
        if not self.head_dim:
            check(multiples=(("hidden_size", "num_attention_heads"),))
            object.__setattr__(self, "head_dim", self.hidden_size // self.num_attention_heads)
        check(multiples=(("num_attention_heads", "num_key_value_heads"),))
        if self.head_dim % 2:
            raise ConfigError(f"text head_dim = {self.head_dim}, must be even")
