"""Conversion of a checkpoint of ALBEF's authors to one for question answering.

Their pre-trained checkpoint has no answer decoder. As in their own code, the decoder starts as a
copy of the fusion blocks, the word embeddings and the masked-word head. A checkpoint that they
tuned for question answering has all tensors already.
"""

import math
import re

from f3ocus_jax.data.tokenizer import Tokenizer
from f3ocus_jax.errors import WeightsError
from f3ocus_jax.models.blip.albef import DECODER, TEXT, AlbefConfig, AlbefTextConfig
from f3ocus_jax.models.blocks.vision import VisionConfig
from f3ocus_jax.models.huggingface.tensor_files import StoredTensor, StoredTensors

UNUSED = re.compile(
    r"(visual_encoder|text_encoder|text_decoder|vision_proj|text_proj|combine_text_proj)_m\."
    r"|(vision_proj|text_proj|combine_text_proj|itm_head)\."
    r"|(temp|image_queue|text_queue)$"
    r"|.*\.position_ids$"
    r"|.*\.cls\.predictions\.decoder\."
)
"""Momentum copies, parts of other tasks, constants, and copies of the word embeddings."""

_LAYER = re.compile(rf"{TEXT}\.encoder\.layer\.(\d+)\.(.*)")


def convert(state: StoredTensors) -> dict[str, StoredTensor]:
    """Gives tensors the names that they have in a model for question answering.

    Args:
      state: Tensors of a pre-trained checkpoint, or of one that was tuned for question answering.

    Returns:
      Stored tensors by their names here; several names may have the same tensor.
    """
    used = {name: value for name, value in state.items() if not UNUSED.match(name)}
    if not any(name.startswith(f"{TEXT}.bert.") for name in used):
        return used
    renamed = {name.replace(f"{TEXT}.bert.", f"{TEXT}."): used[name] for name in used}
    first = _fusion_layer(renamed)
    decoder = {}
    for name, value in renamed.items():
        if match := _LAYER.match(name):
            if int(match[1]) >= first:
                layer = int(match[1]) - first
                decoder[f"{DECODER}.bert.encoder.layer.{layer}.{match[2]}"] = value
        elif name.startswith(f"{TEXT}.embeddings."):
            decoder[name.replace(TEXT, f"{DECODER}.bert", 1)] = value
        elif name.startswith(f"{TEXT}.cls."):
            decoder[name.replace(TEXT, DECODER, 1)] = value
    return {n: renamed[n] for n in renamed if not n.startswith(f"{TEXT}.cls.")} | decoder


def sizes(tensors: StoredTensors, tokenizer: Tokenizer, *, head_width: int) -> AlbefConfig:
    """Reads a model's sizes from the shapes of its tensors.

    Args:
      tensors: Stored tensors by the names of `convert`.
      tokenizer: Tokenizer whose [CLS] begins an answer and whose [SEP] ends it.
      head_width: Dimensions of an attention head, which no tensor tells; 64 in the published one.

    Returns:
      The sizes.

    Raises:
      WeightsError: If the tensors belong to another model.
    """
    try:
        position = tensors["visual_encoder.pos_embed"]
        patch = tensors["visual_encoder.patch_embed.proj.weight"]
        words = tensors[f"{TEXT}.embeddings.word_embeddings.weight"]
        image = VisionConfig(
            hidden_size=position.shape[-1],
            num_hidden_layers=_layers(tensors, r"visual_encoder\.blocks\.(\d+)\."),
            num_attention_heads=position.shape[-1] // head_width,
            intermediate_size=tensors["visual_encoder.blocks.0.mlp.fc1.bias"].shape[0],
            layer_norm_eps=1e-6,
            image_size=math.isqrt(position.shape[1] - 1) * patch.shape[-1],
            patch_size=patch.shape[-1],
        )
        text = AlbefTextConfig(
            vocab_size=words.shape[0],
            hidden_size=words.shape[1],
            num_hidden_layers=_layers(tensors, _LAYER),
            num_attention_heads=words.shape[1] // head_width,
            intermediate_size=tensors[f"{TEXT}.encoder.layer.0.intermediate.dense.bias"].shape[0],
            max_position_embeddings=tensors[f"{TEXT}.embeddings.position_embeddings.weight"].shape[
                0
            ],
            fusion_layer=_fusion_layer(tensors),
            bos_token_id=tokenizer.token_id("[CLS]"),
            sep_token_id=tokenizer.token_id("[SEP]"),
            pad_token_id=tokenizer.token_id("[PAD]"),
            type_vocab_size=tensors[f"{TEXT}.embeddings.token_type_embeddings.weight"].shape[0],
        )
    except KeyError as error:
        raise WeightsError(f"no checkpoint of ALBEF: it lacks {error}") from error
    return AlbefConfig(vision_config=image, text_config=text)


def _fusion_layer(tensors: StoredTensors) -> int:
    """Returns the index of the first text block that attends to the image."""
    matches = [_LAYER.match(name) for name in tensors if ".crossattention." in name]
    return min((int(match[1]) for match in matches if match), default=0)


def _layers(tensors: StoredTensors, pattern: str | re.Pattern) -> int:
    return 1 + max(int(match[1]) for name in tensors if (match := re.match(pattern, name)))
