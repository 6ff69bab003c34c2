"""Start of an ALBEF whose text encoder is a BERT: its sizes, and the tensors that it takes over.

The names of the tensors in ALBEF's text encoder are BERT's. A fusion block is a BERT's layer with
cross-attention between attention and feed-forward layer, which no BERT has.
"""

import pathlib
import re
from collections.abc import Mapping
from typing import Any

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models.blip.albef import TEXT
from f3ocus_jax.models.huggingface import bert_files, tensor_files
from f3ocus_jax.models.huggingface.tensor_files import StoredTensor

PREFIX = f"{TEXT}."
"""Prefix of the names of ALBEF's text encoder."""

_LAYER = re.compile(r"encoder\.layer\.(\d+)\.")


def text_sizes(folder: pathlib.Path, *, width: int | None, layers: int | None) -> dict[str, Any]:
    """Returns the sizes of a text encoder of a BERT's layers, half of which are fusion blocks.

    Args:
      folder: Hugging Face directory of the BERT.
      width: Dimensions of a token; None for the BERT's.
      layers: Number of text and fusion blocks; None for as many as the BERT has layers.

    Raises:
      ConfigError: If another width than the BERT's is asked for, or a single layer.
      WeightsError: If config.json cannot be read or is another model's.
    """
    sizes = bert_files.sizes(folder)
    own = sizes["hidden_size"]
    if width not in (None, own):
        raise ConfigError(f"--width={width}, must be {own}: the text layers are those of {folder}")
    if (total := layers or sizes["num_hidden_layers"]) < 2:
        raise ConfigError(f"--layers={total}, must be at least 2: one for text and one for fusion")
    return {**sizes, "num_hidden_layers": total, "fusion_layer": total // 2}


def locate(folder: pathlib.Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, StoredTensor]:
    """Finds the tensors of a BERT that an ALBEF takes over.

    Args:
      folder: Hugging Face directory of the BERT.
      shapes: Names to shapes of the ALBEF's tensors, of the sizes of `text_sizes`.

    Returns:
      The embeddings and the first layers, as many as both have, by their names in the ALBEF.

    Raises:
      WeightsError: Lists the tensors that are missing or of another shape.
    """
    layers = bert_files.sizes(folder)["num_hidden_layers"]
    of_text = {name.removeprefix(PREFIX): name for name in shapes if name.startswith(PREFIX)}
    expected = {name: shapes[of_text[name]] for name in of_text if _is_of_bert(name, layers)}
    stored = bert_files.locate(folder)
    found = {name: stored[name] for name in expected if name in stored}
    tensor_files.check_shapes(folder, {name: found[name].shape for name in found}, expected)
    return {of_text[name]: tensor for name, tensor in found.items()}


def _is_of_bert(name: str, layers: int) -> bool:
    """Returns True for a tensor that a BERT of so many layers has."""
    layer = _LAYER.match(name)
    return ".crossattention." not in name and (layer is None or int(layer[1]) < layers)
