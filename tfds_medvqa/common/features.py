"""Which features every visual question answering example has, and how its image is encoded."""

import io

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

QUESTION_TYPES = (
    "modality recognition",
    "anatomy",
    "disease diagnosis",
    "disease grading",
    "tissue identification",
    "biological attributes",
)
"""The six question types of MedVQA-FL (F³OCUS, section 4)."""


def example_features() -> tfds.features.FeaturesDict:
    """Returns the feature spec shared by all builders.

    `image` is PNG-encoded uint8 [height, width, 3]; `label` is the source's label vector.
    """
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
            "image_id": tfds.features.Text(),
            "question": tfds.features.Text(),
            "answer": tfds.features.Text(),
            "question_type": tfds.features.Text(),
            "answer_type": tfds.features.Text(doc="closed (yes or no) or open"),
            "client": tfds.features.Text(),
            "modality": tfds.features.Text(),
            "anatomy": tfds.features.Text(),
            "source": tfds.features.Text(),
            "label": tfds.features.Sequence(np.int64),
        }
    )


def encode_png(image_HWC: np.ndarray) -> io.BytesIO:
    """Encodes an image so that TFDS takes it without TensorFlow.

    Args:
      image_HWC: uint8 [height, width, 3], or [height, width] for grey.

    Returns:
      A PNG file in memory, always three channels; the same pixels give the same bytes.
    """
    if image_HWC.ndim == 2:
        image_HWC = np.repeat(image_HWC[..., None], 3, axis=-1)
    file = io.BytesIO()
    Image.fromarray(image_HWC).save(file, format="PNG", compress_level=1)
    file.seek(0)
    return file


def answer_type(answer: str) -> str:
    """Returns "closed" for a yes/no answer and "open" for any other."""
    return "closed" if answer in ("yes", "no") else "open"
