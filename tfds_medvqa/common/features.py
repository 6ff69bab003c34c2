"""Features of every example of every dataset."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tfds_medvqa.common import answers
from tfds_medvqa.common.rows import UNKNOWN

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


def example_features() -> tfds.features.FeaturesDict:
    """Returns the feature specification shared by all builders."""
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
            "patient": text(doc="unique over the hospital; unknown where the release has none"),
            "language": text(doc="of the question, as in en or de-CH; unknown if not released"),
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
    patient: str = UNKNOWN,
    language: str = UNKNOWN,
    label: Sequence[int] = (),
) -> dict[str, Any]:
    """Makes an example of visual question answering.

    Args:
      image: Encoded image file, or a `SourceImage` that a `ManualBuilder` reads.
      image_id: Identifier of the image, shared by all its examples.
      example_id: Identifier of the example, unique over the dataset.
      question: Question as released; runs of white space become one space.
      answer: Answer as released; it is normalised.
      question_type: Question type, such as "anatomy".
      source: Name of the dataset or subset.
      answer_type: "closed" or "open" as released; None to derive it from the answer.
      client: Name of the hospital; None for the source.
      modality: Imaging modality.
      anatomy: Part of the body that the image shows.
      patient: Identifier of the patient, unique over the hospital.
      language: Language of the question, as in "en" or "de-CH"; it decides which answers are yes
        and no.
      label: Label vector of the source.

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
        "answer_type": answer_type or answers.answer_type(answer, language),
        "client": client or source,
        "patient": patient,
        "language": language,
        "modality": modality,
        "anatomy": anatomy,
        "source": source,
        "label": list(label),
    }
