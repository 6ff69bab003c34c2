"""Which question does an image get, and what do its labels say is the answer?

One triplet per image. `WEIGHTS` deals the question types so that their shares in the whole come as
close to the paper's as the sources allow; everything else is drawn from the image's id.
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
"""Share of every question type among the images of a source."""


@dataclasses.dataclass(frozen=True)
class Triplet:
    """A question about an image and its answer.

    Attributes:
      question: lower case.
      answer: lower case; "yes" or "no" for a closed question.
      question_type: one of the six.
      anatomy: one of the twelve categories.
    """

    question: str
    answer: str
    question_type: str
    anatomy: str


def question_type(image_id: str, source_name: str) -> str:
    """Returns which of the six types of question an image gets; its labels have no say in it."""
    return Draws(image_id).weighted("type", WEIGHTS[source_name])


def ask(image_id: str, source: Source, record: Record, label: Sequence[int]) -> Triplet:
    """Makes an image's triplet.

    Args:
      image_id: such as "breastmnist/train/17".
      source: of the image.
      record: of the source's subset.
      label: its class, or one 0 or 1 per label for a multi-label subset.

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
