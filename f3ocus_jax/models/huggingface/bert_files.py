"""A BERT's sizes and tensors, found in its Hugging Face directory by the names of BertModel."""

import dataclasses
import pathlib
import re
from typing import Any

from f3ocus_jax.errors import WeightsError
from f3ocus_jax.models.blocks.bert import TextConfig
from f3ocus_jax.models.huggingface import sources, tensor_files
from f3ocus_jax.models.huggingface.config_file import CONFIG_FILE
from f3ocus_jax.models.huggingface.tensor_files import StoredTensor

PREFIX = "bert."
"""Prefix of the names in a model that has a head."""

_OLD_NORM = {"gamma": "weight", "beta": "bias"}
"""Names of a LayerNorm's parameters in the first checkpoints to their names since."""

_REQUIRED = {"model_type": "bert", "position_embedding_type": "absolute"}
"""Entries of config.json without which the layers are not those of `blocks.bert`."""


def locate(folder: pathlib.Path) -> dict[str, StoredTensor]:
    """Finds the tensors of a BERT, without reading their numbers.

    Args:
      folder: Hugging Face directory of the BERT, with or without a head.

    Returns:
      The tensors by their names in a BertModel.

    Raises:
      WeightsError: If it cannot be read.
    """
    return {_standard_name(name): tensor for name, tensor in sources.locate(folder).items()}


def sizes(folder: pathlib.Path) -> dict[str, Any]:
    """Reads the sizes of a BERT.

    Args:
      folder: Hugging Face directory of the BERT.

    Returns:
      Sizes by their Hugging Face names; the segment types are `type_vocab_size`.

    Raises:
      WeightsError: If config.json cannot be read or is another model's, or a size is absent.
    """
    path = folder / CONFIG_FILE
    content = tensor_files.read_json(path)
    for name, required in _REQUIRED.items():
        if (given := content.get(name, "absolute")) != required:
            raise WeightsError(f"{path}: {name} = {given!r}, must be {required!r}")
    decided = {"vocab_size", "bos_token_id", "sep_token_id", "pad_token_id"}  # by the tokenizer
    names = {field.name for field in dataclasses.fields(TextConfig)} - decided | {"type_vocab_size"}
    if absent := sorted(names - set(content)):
        raise WeightsError(f"{path} lacks {', '.join(absent)}: it is no complete BERT's")
    return {name: content[name] for name in sorted(names)}


def _standard_name(name: str) -> str:
    stem, _, last = name.removeprefix(PREFIX).rpartition(".")
    is_norm = re.search(r"LayerNorm$", stem)
    return f"{stem}.{_OLD_NORM.get(last, last) if is_norm else last}" if stem else last
