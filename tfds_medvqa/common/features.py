"""Which features does every example of every dataset have?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tfds_medvqa.common import answers

QUESTION_TYPES = (
    "modality recognition",
    "anatomy",
    "disease diagnosis",
    "disease grading",
    "tissue identification",
    "biological attributes",
)
"""The six question types of MedVQA-FL (F³OCUS, section 4)."""

QUESTION_ANSWERING = "question answering"
CLASSIFICATION = "classification"
TASKS = (QUESTION_ANSWERING, CLASSIFICATION)
UNKNOWN = "unknown"
"""What a text feature holds where the release does not say."""


def example_features() -> tfds.features.FeaturesDict:
    """Returns the feature spec shared by all builders."""
    text = tfds.features.Text
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3), doc="an encoded PNG or JPEG file"),
            "image_id": text(doc="the same for all examples of an image"),
            "example_id": text(doc="unique over the dataset"),
            "task": text(doc=f"one of {', '.join(TASKS)}"),
            "question": text(doc="what is asked, or the report that goes with the image"),
            "answer": text(doc="normalised; the findings' names where the task is classification"),
            "question_type": text(),
            "answer_type": text(doc="closed (yes or no, or as released) or open"),
            "client": text(doc="the hospital"),
            "modality": text(),
            "anatomy": text(),
            "source": text(doc="the dataset or subset it was released in"),
            "label": tfds.features.Sequence(
                np.int64, doc="the source's label vector; 0 or 1 per finding for classification"
            ),
        }
    )


def question_example(
    *,
    image: Any,
    image_id: str,
    example_id: str,
    question: str,
    answer: object,
    question_type: str,
    source: str,
    answer_type: str | None = None,
    client: str | None = None,
    modality: str = UNKNOWN,
    anatomy: str = UNKNOWN,
    label: Sequence[int] = (),
) -> dict[str, Any]:
    """Makes an example of visual question answering.

    Args:
      image: an encoded image file, as `images` gives it.
      image_id: the same for all examples of an image.
      example_id: unique over the dataset.
      question: as released; runs of white space become one space.
      answer: as released; it is normalised.
      question_type: such as "anatomy".
      source: the dataset or subset.
      answer_type: "closed" or "open" as released; from the answer unless given.
      client: the hospital; the source unless given.
      modality: how the image was taken.
      anatomy: what part of the body it shows.
      label: the source's label vector.

    Returns:
      The features by name.
    """
    answer = answers.normalise(answer)
    return {
        "image": image,
        "image_id": image_id,
        "example_id": example_id,
        "task": QUESTION_ANSWERING,
        "question": " ".join(question.split()),
        "answer": answer,
        "question_type": question_type,
        "answer_type": answer_type or answers.answer_type(answer),
        "client": client or source,
        "modality": modality,
        "anatomy": anatomy,
        "source": source,
        "label": list(label),
    }
