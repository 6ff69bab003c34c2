"""Tensor mappings of language models as submodules of a vision-language model."""

from collections.abc import Mapping

from f3ocus_jax.models.blocks.llama_config import LlamaConfig
from f3ocus_jax.models.blocks.opt import OptConfig
from f3ocus_jax.models.blocks.t5_config import T5Config
from f3ocus_jax.models.huggingface import layout
from f3ocus_jax.models.huggingface.layout import Path, TensorMapping

BLOCKS: Path = ("language_blocks",)


def llama(
    config: LlamaConfig,
    model: str = "language_model.model",
    scores: str = "language_model.lm_head",
) -> list[TensorMapping]:
    """Returns the tensor mappings of a LlamaForCausalLM.

    Args:
      config: Sizes.
      model: Prefix of the model without its output weights.
      scores: Prefix of the output weights; "" if they are the word embeddings.
    """
    layers = range(config.num_hidden_layers)
    block = f"{model}.layers.{{layer}}"
    attention = {
        "query": "self_attn.q_proj",
        "key": "self_attn.k_proj",
        "value": "self_attn.v_proj",
        "attention_output": "self_attn.o_proj",
    }
    feed_forward = {"gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj"}
    norms = {"attention_norm": "input_layernorm", "feed_forward_norm": "post_attention_layernorm"}
    return [
        layout.identical(("words", "word"), f"{model}.embed_tokens.weight"),
        *_scales(BLOCKS, block, norms, layers),
        *_linears(BLOCKS, block, attention, layers, use_bias=config.attention_bias),
        *_linears(BLOCKS, block, feed_forward, layers, use_bias=config.mlp_bias),
        layout.identical(("language_norm", "scale"), f"{model}.norm.weight"),
        *(layout.linear(("scores",), scores, use_bias=False) if scores else []),
    ]


def opt(config: OptConfig) -> list[TensorMapping]:
    """Returns the tensor mappings of an OPTForCausalLM, whose output weights are its embeddings."""
    model, layers = "language_model.model.decoder", range(config.num_hidden_layers)
    block = f"{model}.layers.{{layer}}"
    maps = {
        "query": "self_attn.q_proj",
        "key": "self_attn.k_proj",
        "value": "self_attn.v_proj",
        "attention_output": "self_attn.out_proj",
        "intermediate": "fc1",
        "output": "fc2",
    }
    return [
        layout.identical(("words", "word"), f"{model}.embed_tokens.weight"),
        layout.identical(("words", "position"), f"{model}.embed_positions.weight"),
        *layout.norm((*BLOCKS, "attention_norm"), f"{block}.self_attn_layer_norm", layers),
        *layout.norm((*BLOCKS, "feed_forward_norm"), f"{block}.final_layer_norm", layers),
        *_linears(BLOCKS, block, maps, layers),
        *layout.norm(("language_norm", "norm"), f"{model}.final_layer_norm"),
    ]


def t5(config: T5Config) -> list[TensorMapping]:
    """Returns the tensor mappings of a T5ForConditionalGeneration."""
    model = "language_model"
    encoder, decoder = f"{model}.encoder", f"{model}.decoder"
    distances = "block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    encoder_layers, decoder_layers = range(config.num_layers), range(config.num_decoder_layers)
    return [
        layout.identical(("words", "word"), f"{model}.shared.weight"),
        layout.identical(("words", "bias"), f"{encoder}.{distances}"),
        *_t5_blocks(config, BLOCKS, encoder, encoder_layers, cross_attention=False),
        layout.identical(("language_norm", "scale"), f"{encoder}.final_layer_norm.weight"),
        layout.identical(("decoder", "bias"), f"{decoder}.{distances}"),
        *_t5_blocks(config, ("decoder", "blocks"), decoder, decoder_layers, cross_attention=True),
        layout.identical(("decoder", "norm", "scale"), f"{decoder}.final_layer_norm.weight"),
        *layout.linear(("scores",), f"{model}.lm_head", use_bias=False),
    ]


def of(config: LlamaConfig | OptConfig | T5Config) -> list[TensorMapping]:
    """Returns the tensor mappings of the language model of these sizes."""
    if isinstance(config, T5Config):
        return t5(config)
    return opt(config) if isinstance(config, OptConfig) else llama(config)


def _t5_blocks(
    config: T5Config, path: Path, stack: str, layers: range, *, cross_attention: bool
) -> list[TensorMapping]:
    block, attention = f"{stack}.block.{{layer}}.layer", {"query": "q", "key": "k", "value": "v"}
    attention["attention_output"] = "o"
    last = 2 if cross_attention else 1
    maps = {name: f"0.SelfAttention.{tensor_name}" for name, tensor_name in attention.items()}
    norms = {"attention_norm": "0.layer_norm", "feed_forward_norm": f"{last}.layer_norm"}
    if cross_attention:
        maps |= {f"cross_{name}": f"1.EncDecAttention.{t}" for name, t in attention.items()}
        norms["cross_attention_norm"] = "1.layer_norm"
    gated = {"gate": "wi_0", "up": "wi_1", "down": "wo"}
    fed = gated if config.activation[1] else {"up": "wi", "down": "wo"}
    maps |= {name: f"{last}.DenseReluDense.{tensor_name}" for name, tensor_name in fed.items()}
    return [
        *_scales(path, block, norms, layers),
        *_linears(path, block, maps, layers, use_bias=False),
    ]


def _scales(path: Path, block: str, norms: Mapping[str, str], layers: range) -> list[TensorMapping]:
    """Returns the tensor mappings of root mean square norms."""
    return [
        layout.identical((*path, name, "scale"), f"{block}.{tensor_name}.weight", layers)
        for name, tensor_name in norms.items()
    ]


def _linears(
    path: Path, block: str, maps: Mapping[str, str], layers: range, *, use_bias: bool = True
) -> list[TensorMapping]:
    return [
        tensor
        for name, tensor_name in maps.items()
        for tensor in layout.linear(
            (*path, name), f"{block}.{tensor_name}", layers, use_bias=use_bias
        )
    ]
