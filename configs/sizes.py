"""The sizes of each model family, by the names that Hugging Face gives them."""

import ml_collections


def vilt(*, width: int, layers: int, image_size: int, patch_size: int) -> ml_collections.ConfigDict:
    """Returns the sizes of a ViLT with heads of 32 dimensions, by their Hugging Face names.

    Args:
      width: D.
      layers: L.
      image_size: side of the square image, in pixels.
      patch_size: side of a patch, in pixels.
    """
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 32,
        "intermediate_size": 4 * width,
        "image_size": image_size,
        "patch_size": patch_size,
    }
    return ml_collections.ConfigDict(sizes)


def blip(*, width: int, layers: int, image_size: int, patch_size: int) -> ml_collections.ConfigDict:
    """Returns the sizes of a BLIP with heads of 32 dimensions, by their Hugging Face names.

    Those of a LLaVA have the same names.

    Args:
      width: D, of all stacks.
      layers: blocks of each stack.
      image_size: side of the square image, in pixels.
      patch_size: side of a patch, in pixels.
    """
    stack = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 32,
        "intermediate_size": 4 * width,
    }
    image = {"image_size": image_size, "patch_size": patch_size}
    return ml_collections.ConfigDict({"vision_config": stack | image, "text_config": stack})


def albef(
    *, width: int, layers: int, image_size: int, patch_size: int
) -> ml_collections.ConfigDict:
    """Returns the sizes of an ALBEF with heads of 32 dimensions, by the names of its directories.

    Args:
      width: D, of all stacks.
      layers: blocks of the image encoder, and of the text encoder; half of these look at the image.
      image_size: side of the square image, in pixels.
      patch_size: side of a patch, in pixels.
    """
    sizes = blip(width=width, layers=layers, image_size=image_size, patch_size=patch_size)
    sizes.text_config.fusion_layer = layers // 2
    return sizes


LANGUAGES = {
    "opt": {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "ffn_dim": 64},
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 3, "num_heads": 2},
    "llama": {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    },
}
"""Tiny language models of BLIP-2, by their Hugging Face names."""


OPT_2_7B = {
    "model_type": "opt",
    "vocab_size": 50272,
    "hidden_size": 2560,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "ffn_dim": 10240,
}
"""The published language model of BLIP-2, by its Hugging Face names."""


def blip2(*, image_size: int, patch_size: int, language: str) -> ml_collections.ConfigDict:
    """Returns the sizes of a tiny BLIP-2, by their Hugging Face names.

    Args:
      image_size: side of the square image, in pixels.
      patch_size: side of a patch, in pixels.
      language: "llama", "opt" or "t5".
    """
    stack = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    image = {"image_size": image_size, "patch_size": patch_size}
    sizes = {
        "vision_config": stack | image,
        "qformer_config": stack,
        "text_config": LANGUAGES[language] | {"model_type": language},
        "num_query_tokens": 4,
    }
    return ml_collections.ConfigDict(sizes)
