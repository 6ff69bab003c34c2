"""Embeddings of a BERT's text, read from its Hugging Face directory and projected to a width."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from f3ocus_jax.errors import ConfigError, WeightsError
from f3ocus_jax.models.huggingface import bert_files, tensor_files

NAMES = {
    "word": "embeddings.word_embeddings.weight",
    "position": "embeddings.position_embeddings.weight",
    "segment": "embeddings.token_type_embeddings.weight",
}


@dataclasses.dataclass(frozen=True)
class TextEmbeddings:
    """Tables whose rows a BERT adds up for a token: of V entries, T positions, S segments.

    Attributes:
      word_VD: float32, one row per entry of the vocabulary.
      position_TD: float32, one row per position.
      segment_SD: float32, one row per segment; the first is a question's.
    """

    word_VD: np.ndarray
    position_TD: np.ndarray
    segment_SD: np.ndarray


def read(folder: pathlib.Path) -> TextEmbeddings:
    """Reads the tables of a BERT.

    Args:
      folder: Hugging Face directory of the BERT.

    Raises:
      WeightsError: If it cannot be read, or a table is missing.
    """
    stored = bert_files.locate(folder)
    for name in NAMES.values():
        if name not in stored:
            raise WeightsError(f"{folder} holds no {name}: it is no BERT")
    values = tensor_files.read({table: stored[name] for table, name in NAMES.items()})
    return TextEmbeddings(values["word"], values["position"], values["segment"])


def project(embeddings: TextEmbeddings, width: int) -> TextEmbeddings:
    """Projects the tables onto the leading principal axes of the words.

    The mean of the words moves to the segments, so that the sum of a token's three rows is the
    projection of the sum. Each axis points where its largest component is positive.

    Args:
      embeddings: Tables of D columns.
      width: Columns of the result, at most D.

    Raises:
      ConfigError: If there are fewer columns than that.
    """
    word_VD = embeddings.word_VD.astype(np.float64)
    columns = word_VD.shape[1]
    if width > columns:
        raise ConfigError(f"the embeddings have {columns} columns, of which no {width} can be made")
    mean_D = word_VD.mean(axis=0)
    centred_VD = word_VD - mean_D
    _, axes_DD = np.linalg.eigh(centred_VD.T @ centred_VD)
    axes_DW = axes_DD[:, ::-1][:, :width]
    largest_W = np.abs(axes_DW).argmax(axis=0)
    axes_DW = axes_DW * np.sign(axes_DW[largest_W, np.arange(width)])[None]

    def projected(table_ND: np.ndarray) -> np.ndarray:
        return (table_ND @ axes_DW).astype(np.float32)

    return TextEmbeddings(
        projected(centred_VD),
        projected(embeddings.position_TD),
        projected(embeddings.segment_SD + mean_D[None]),
    )


def fill_vilt(params: dict[str, Any], embeddings: TextEmbeddings) -> dict[str, Any]:
    """Puts tables of the right width into the parameters of a ViLT.

    Args:
      params: Parameters of the ViLT.
      embeddings: Tables with as many columns as the ViLT is wide.

    Returns:
      The parameters with these words, the first positions, and the segments.

    Raises:
      ConfigError: If the ViLT reads more tokens than there are positions, or has another number of
        words or segments.
    """
    own = params["embeddings"]
    longest = len(own["text_position"])
    tables = {
        "word": embeddings.word_VD,
        "text_position": embeddings.position_TD[:longest],
        "text_type": embeddings.segment_SD,
    }
    for name, table in tables.items():
        if table.shape != own[name].shape:
            raise ConfigError(f"{name} has shape {table.shape}, this ViLT takes {own[name].shape}")
    return {**params, "embeddings": {**own, **tables}}
