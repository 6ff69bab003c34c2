"""Batches of images and questions that belong to no dataset."""

import os
import pathlib
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from PIL import Image

from f3ocus_jax.data import images as images_lib
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.tokenizer import Tokenizer
from f3ocus_jax.errors import DataError
from f3ocus_jax.types import Batch
from tfds_medvqa.common import images as image_files
from tfds_medvqa.common.errors import ImageError
from tfds_medvqa.common.image_limits import DEFAULT_DECODING, DecodeOptions, read_bytes
from tfds_medvqa.common.rows import RowError, check_unicode

Picture: TypeAlias = str | os.PathLike[str] | Image.Image | np.ndarray
"""Path of an image file, PIL image, or uint8 array [height, width] or [height, width, 3]."""


def pair(
    pictures: Picture | Sequence[Picture], questions: str | Sequence[str]
) -> list[tuple[Picture, str]]:
    """Pairs images with questions; a single one of either is used for all of the other.

    Args:
      pictures: One image, several, or a uint8 array [B, height, width, 3].
      questions: One question, or several.

    Returns:
      B pairs.

    Raises:
      DataError: If there are several of both and their numbers differ, or a question is no text.
    """
    images = _as_list(pictures)
    texts = [questions] if isinstance(questions, str) else list(questions)
    if len(images) == 1:
        images = images * len(texts)
    elif len(texts) == 1:
        texts = texts * len(images)
    for text in texts:
        try:
            check_unicode("question:", "text", text)
        except RowError as error:
            raise DataError(str(error)) from error
    if len(images) != len(texts):
        raise DataError(
            f"{len(images)} images and {len(texts)} questions; give as many of both, or one"
        )
    return list(zip(images, texts, strict=True))


def make_batch(
    pairs: Sequence[tuple[Picture, str]],
    *,
    canvas: Canvas,
    tokenizer: Tokenizer,
    question_length: int,
    findings: int,
    decoding: DecodeOptions = DEFAULT_DECODING,
) -> Batch:
    """Makes a batch that asks for all that a model can tell.

    Args:
      pairs: B images and their questions.
      canvas: Canvas that images are put on.
      tokenizer: Tokenizer of the questions.
      question_length: T, tokens per question.
      findings: F, findings that the model can tell; 0 for none.
      decoding: Limit of pixels, and the page of files that have several.

    Returns:
      The batch; its labels and targets are 0 and mean nothing.

    Raises:
      DataError: If an image cannot be used.
      FileNotFoundError: If there is no such file.
    """
    placed = [
        images_lib.fit_to_canvas(read_picture(picture, decoding), canvas) for picture, _ in pairs
    ]
    input_ids_BT, mask_BT = tokenizer.encode([question for _, question in pairs], question_length)
    count = len(pairs)
    return Batch(
        images_BHWC=np.stack([pixels_HWC for pixels_HWC, _ in placed]),
        input_ids_BT=input_ids_BT,
        attention_mask_BT=mask_BT,
        labels_B=np.zeros(count, np.int32),
        example_mask_B=np.ones(count, np.float32),
        targets_BF=np.zeros((count, findings), np.int8) if findings else None,
        image_size_B2=np.array([size for _, size in placed], np.int32)
        if canvas.keeps_aspect
        else None,
    )


def read_picture(picture: Picture, decoding: DecodeOptions = DEFAULT_DECODING) -> Image.Image:
    """Returns an image as eight-bit colour.

    Args:
      picture: Path, PIL image or uint8 array.
      decoding: Limit of pixels, and the page of files that have several.

    Raises:
      DataError: If an image is none, is damaged or larger, or an array has another dtype or shape.
      FileNotFoundError: If there is no such file.
    """
    if isinstance(picture, np.ndarray):
        is_image = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[-1] == 3)
        if picture.dtype != np.uint8 or not is_image or not picture.size:
            raise DataError(
                f"image of dtype {picture.dtype} and shape {picture.shape}, "
                "must be uint8 [height, width] or [height, width, 3]"
            )
        return Image.fromarray(picture).convert("RGB")
    name = "PIL image" if isinstance(picture, Image.Image) else picture
    try:
        if isinstance(picture, Image.Image):
            return image_files.convert_rgb(picture, decoding)
        path = pathlib.Path(picture).expanduser()
        return images_lib.decode_rgb(read_bytes(path, decoding.max_pixels), decoding)
    except FileNotFoundError:
        raise
    except IsADirectoryError as error:
        raise DataError(f"{picture} is a folder, must be one image file") from error
    except ImageError as error:
        raise DataError(f"{name} {error}") from error
    except (OSError, RuntimeError, SyntaxError, ValueError) as error:
        raise DataError(f"{name} cannot be read as an image ({error})") from error


def _as_list(pictures: Picture | Sequence[Picture]) -> list[Picture]:
    if isinstance(pictures, np.ndarray):
        return list(pictures) if pictures.ndim == 4 else [pictures]
    if isinstance(pictures, str | os.PathLike | Image.Image):
        return [pictures]
    return list(pictures)
