"""Question of an image, and its answer according to the image's labels.

Every image has one triplet. `WEIGHTS` distributes the question types so that their overall
fractions are as close to the paper's as the sources allow; everything else is drawn from the
image's id.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from tfds_medvqa.common.draws import Draws
from tfds_medvqa.medvqa_fl.forms import (
    ANATOMY,
    ATTRIBUTES,
    DIAGNOSIS,
    GENERAL,
    GRADING,
    MODALITY,
    SPECIFIC,
    TISSUE,
    Image,
)
from tfds_medvqa.medvqa_fl.records import Record
from tfds_medvqa.medvqa_fl.sources import Source

_CT = {ANATOMY: 0.80, MODALITY: 0.13, ATTRIBUTES: 0.07}

WEIGHTS: Mapping[str, Mapping[str, float]] = {
    "chestmnist": {DIAGNOSIS: 0.92, MODALITY: 0.04, ANATOMY: 0.04},
    "pneumoniamnist": {DIAGNOSIS: 0.92, MODALITY: 0.04, ANATOMY: 0.04},
    "octmnist": {DIAGNOSIS: 0.92, MODALITY: 0.04, ANATOMY: 0.04},
    "pathmnist": {DIAGNOSIS: 0.555, TISSUE: 0.355, MODALITY: 0.045, ANATOMY: 0.045},
    "dermamnist": {DIAGNOSIS: 0.80, MODALITY: 0.10, ANATOMY: 0.10},
    "retinamnist": {GRADING: 0.90, DIAGNOSIS: 0.06, MODALITY: 0.02, ANATOMY: 0.02},
    "breastmnist": {DIAGNOSIS: 0.80, MODALITY: 0.10, ANATOMY: 0.10},
    "bloodmnist": {ATTRIBUTES: 0.70, MODALITY: 0.15, ANATOMY: 0.15},
    "tissuemnist": {TISSUE: 0.445, ATTRIBUTES: 0.22, MODALITY: 0.17, ANATOMY: 0.165},
    "organamnist": _CT,
    "organcmnist": _CT,
    "organsmnist": _CT,
}
"""Fraction of every question type among the images of a source."""


@dataclasses.dataclass(frozen=True)
class Triplet:
    """A question about an image and its answer.

    Attributes:
      question: Question in lower case.
      answer: Answer in lower case; "yes" or "no" for a closed question.
      question_type: One of the six question types.
      anatomy: One of the twelve anatomical categories.
    """

    question: str
    answer: str
    question_type: str
    anatomy: str


def question_type(image_id: str, source_name: str) -> str:
    """Returns the question type of an image, which does not depend on its labels."""
    return Draws(image_id).weighted("type", WEIGHTS[source_name])


def ask(image_id: str, source: Source, record: Record, label: Sequence[int]) -> Triplet:
    """Makes an image's triplet.

    Args:
      image_id: Identifier of the image, such as "breastmnist/train/17".
      source: Source of the image.
      record: Record of the source's subset.
      label: Class of the image, or 0 or 1 per label for a multi-label subset.

    Returns:
      The triplet; the same for the same image in every build, at every resolution.
    """
    if record.multi_label:
        labels = tuple(name for name, on in zip(record.labels, label, strict=True) if on)
    else:
        labels = (record.labels[label[0]],)
    image = Image(Draws(image_id), source, labels, record.labels)
    kind = question_type(image_id, source.name)
    forms = SPECIFIC.get((source.name, kind)) or GENERAL[kind]
    sentences, thing, answer = image.draws.choice("form", forms)(image)
    question = image.draws.choice("wording", sentences).format(thing=thing)
    return Triplet(question, answer, kind, image.anatomy)
