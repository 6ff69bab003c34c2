"""Which question does an image get, and what do its labels say is the answer?

One triplet per image. `WEIGHTS` deals the question types so that their shares in the whole come as
close to the paper's as the sources allow; everything else is drawn from the image's id.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from tfds_medvqa.medvqa_fl import facts, wordings
from tfds_medvqa.medvqa_fl.draws import Draws
from tfds_medvqa.medvqa_fl.records import Record
from tfds_medvqa.medvqa_fl.sources import ANATOMIES, MODALITIES, ORGANS, Source

MODALITY = "modality recognition"
ANATOMY = "anatomy"
DIAGNOSIS = "disease diagnosis"
GRADING = "disease grading"
TISSUE = "tissue identification"
ATTRIBUTES = "biological attributes"

WEIGHTS: Mapping[str, Mapping[str, float]] = {
    "chestmnist": {DIAGNOSIS: 0.92, MODALITY: 0.04, ANATOMY: 0.04},
    "pneumoniamnist": {DIAGNOSIS: 0.92, MODALITY: 0.04, ANATOMY: 0.04},
    "octmnist": {DIAGNOSIS: 0.92, MODALITY: 0.04, ANATOMY: 0.04},
    "pathmnist": {DIAGNOSIS: 0.52, TISSUE: 0.38, MODALITY: 0.05, ANATOMY: 0.05},
    "dermamnist": {DIAGNOSIS: 0.80, MODALITY: 0.10, ANATOMY: 0.10},
    "retinamnist": {GRADING: 0.90, DIAGNOSIS: 0.06, MODALITY: 0.02, ANATOMY: 0.02},
    "breastmnist": {DIAGNOSIS: 0.80, MODALITY: 0.10, ANATOMY: 0.10},
    "bloodmnist": {ATTRIBUTES: 0.70, MODALITY: 0.15, ANATOMY: 0.15},
    "tissuemnist": {TISSUE: 0.44, ATTRIBUTES: 0.23, MODALITY: 0.17, ANATOMY: 0.16},
    "organamnist": {ANATOMY: 0.80, MODALITY: 0.13, ATTRIBUTES: 0.07},
    "organcmnist": {ANATOMY: 0.80, MODALITY: 0.13, ATTRIBUTES: 0.07},
    "organsmnist": {ANATOMY: 0.80, MODALITY: 0.13, ATTRIBUTES: 0.07},
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


@dataclasses.dataclass(frozen=True)
class Image:
    """What is known of one image: its id's draws, its source and its labels by name."""

    draws: Draws
    source: Source
    labels: tuple[str, ...]
    all_labels: tuple[str, ...]

    @property
    def label(self) -> str:
        """The label of an image that has just one."""
        return self.labels[0]

    @property
    def anatomy(self) -> str:
        """The anatomical category."""
        return self.source.anatomy or ORGANS[self.label][1]


Form = tuple[Sequence[str], str, str]
"""(wordings, what {thing} is, answer)."""


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
    question_type = image.draws.weighted("type", WEIGHTS[source.name])
    forms = GENERAL.get(question_type) or SPECIFIC[source.name, question_type]
    if source.client == "abdominal_ct":
        forms = SPECIFIC.get((source.name, question_type), forms)
    sentences, thing, answer = image.draws.choice("form", forms)(image)
    question = image.draws.choice("wording", sentences).format(thing=thing)
    return Triplet(question, answer, question_type, image.anatomy)


def yes_no(image: Image, right: Sequence[str], others: Sequence[str]) -> tuple[str, str]:
    """Chooses what a closed question asks about.

    Args:
      image: of the question.
      right: things that are so; may be empty.
      others: things that are not so; may be empty, but not both.

    Returns:
      (thing, "yes" or "no"), each as likely where both are possible.
    """
    wants_yes = image.draws.choice("yes or no", (True, False))
    if right and (wants_yes or not others):
        return image.draws.choice("asked", right), "yes"
    return image.draws.choice("asked", others), "no"


def _closed(
    sentences: Sequence[str], things: Callable[[Image], tuple[Sequence[str], Sequence[str]]]
) -> Callable[[Image], Form]:
    """Makes a yes/no form of what is so and what is not."""
    return lambda image: (sentences, *yes_no(image, *things(image)))


def _open(sentences: Sequence[str], answer: Callable[[Image], str]) -> Callable[[Image], Form]:
    """Makes an open form that names the anatomy where its wordings ask for a thing."""
    return lambda image: (sentences, image.anatomy, answer(image))


def _decision(sentences: Sequence[str], holds: Callable[[Image], bool]) -> Callable[[Image], Form]:
    """Makes a yes/no form whose question is always the same."""
    return lambda image: (sentences, image.anatomy, "yes" if holds(image) else "no")


def _against(one: str, every: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    return (one,), tuple(thing for thing in every if thing != one)


def _named(names: Mapping[str, str]) -> Callable[[Image], tuple[Sequence[str], Sequence[str]]]:
    """What is so and what is not, for a single label by the names people use."""
    return lambda image: _against(names[image.label], tuple(names.values()))


def _findings(image: Image) -> tuple[Sequence[str], Sequence[str]]:
    present = tuple(facts.CHEST_FINDINGS[label] for label in image.labels)
    absent = tuple(name for name in facts.CHEST_FINDINGS.values() if name not in present)
    return present, absent


def _chest_diagnosis(image: Image) -> Form:
    """An open question where one answer is right, else a closed one."""
    present, _ = _findings(image)
    if len(present) > 1:
        return (wordings.HAS_FINDING, *yes_no(image, *_findings(image)))
    return wordings.DIAGNOSIS, image.anatomy, present[0] if present else "no finding"


def _grades(image: Image) -> tuple[Sequence[str], Sequence[str]]:
    reached = tuple(f"grade {grade}" for grade in range(1, int(image.label) + 1))
    return reached, tuple(f"grade {grade}" for grade in range(int(image.label) + 1, 5))


def _colon_diagnosis(image: Image) -> Form:
    diagnosis = facts.COLON_DIAGNOSES.get(image.label)
    if diagnosis is None:
        return _decision(wordings.MALIGNANCY, facts.is_colon_cancer)(image)
    return wordings.DIAGNOSIS, image.anatomy, diagnosis


GENERAL: Mapping[str, Sequence[Callable[[Image], Form]]] = {
    MODALITY: (
        _open(wordings.MODALITY, lambda image: image.source.modality),
        _closed(wordings.IS_MODALITY, lambda image: _against(image.source.modality, MODALITIES)),
    ),
    ANATOMY: (
        _open(wordings.ANATOMY, lambda image: image.anatomy),
        _closed(wordings.IS_ANATOMY, lambda image: _against(image.anatomy, ANATOMIES)),
    ),
}
"""Forms that every source has."""

_CT: Mapping[str, Sequence[Callable[[Image], Form]]] = {
    MODALITY: (
        *GENERAL[MODALITY],
        _open(wordings.VIEW, lambda image: str(image.source.view)),
        _open(wordings.VIEW, lambda image: str(image.source.view)),
    ),
    ANATOMY: (
        _open(wordings.ORGAN, lambda image: ORGANS[image.label][0]),
        _open(wordings.ORGAN, lambda image: ORGANS[image.label][0]),
        _closed(
            wordings.IS_ANATOMY,
            lambda image: _against(ORGANS[image.label][0], [name for name, _ in ORGANS.values()]),
        ),
    ),
    ATTRIBUTES: (
        _open(wordings.SIDE, facts.side),
        _decision(wordings.IS_PAIRED, lambda image: facts.side(image) != "unpaired"),
    ),
}

SPECIFIC: Mapping[tuple[str, str], Sequence[Callable[[Image], Form]]] = {
    ("chestmnist", DIAGNOSIS): (
        _chest_diagnosis,
        _closed(wordings.HAS_FINDING, _findings),
        _decision(wordings.IS_ABNORMAL, lambda image: bool(image.labels)),
    ),
    ("pneumoniamnist", DIAGNOSIS): (
        _open(wordings.DIAGNOSIS, lambda image: image.label),
        _decision(wordings.IS_ABNORMAL, lambda image: image.label == "pneumonia"),
    ),
    ("octmnist", DIAGNOSIS): (
        _open(wordings.DIAGNOSIS, lambda image: image.label),
        _closed(wordings.HAS_FINDING, _named(facts.OCT_FINDINGS)),
        _decision(wordings.IS_ABNORMAL, lambda image: image.label != "normal"),
    ),
    ("pathmnist", DIAGNOSIS): (
        _colon_diagnosis,
        _decision(wordings.MALIGNANCY, facts.is_colon_cancer),
    ),
    ("pathmnist", TISSUE): (
        _open(wordings.TISSUE, lambda image: image.label),
        _closed(wordings.IS_TISSUE, lambda image: _against(image.label, image.all_labels)),
    ),
    ("dermamnist", DIAGNOSIS): (
        _open(wordings.DIAGNOSIS, lambda image: image.label),
        _closed(wordings.HAS_FINDING, lambda image: _against(image.label, image.all_labels)),
    ),
    ("retinamnist", GRADING): (
        _open(wordings.GRADE, lambda image: f"grade {image.label}"),
        _closed(wordings.GRADE_AT_LEAST, _grades),
    ),
    ("retinamnist", DIAGNOSIS): (
        _decision(wordings.IS_ABNORMAL, lambda image: image.label != "0"),
        lambda image: (
            wordings.HAS_FINDING,
            "diabetic retinopathy",
            "no" if image.label == "0" else "yes",
        ),
    ),
    ("breastmnist", DIAGNOSIS): (
        _open(wordings.BENIGN_OR_MALIGNANT, lambda image: facts.BREAST_DIAGNOSES[image.label]),
        _decision(wordings.MALIGNANCY, lambda image: image.label == "malignant"),
    ),
    ("bloodmnist", ATTRIBUTES): (
        _open(wordings.BLOOD_CELL, lambda image: facts.BLOOD_CELLS[image.label]),
        _open(wordings.BLOOD_CELL, lambda image: facts.BLOOD_CELLS[image.label]),
        _closed(wordings.IS_BLOOD_CELL, _named(facts.BLOOD_CELLS)),
        _decision(wordings.IS_GRANULOCYTE, facts.is_granulocyte),
        _decision(wordings.HAS_NUCLEUS, lambda image: image.label != "platelet"),
    ),
    ("tissuemnist", TISSUE): (
        _open(wordings.KIDNEY_CELL, lambda image: facts.KIDNEY_CELLS[image.label]),
        _closed(wordings.IS_KIDNEY_CELL, _named(facts.KIDNEY_CELLS)),
    ),
    ("tissuemnist", ATTRIBUTES): (
        _open(wordings.COMPARTMENT, lambda image: facts.KIDNEY_COMPARTMENTS[image.label]),
        _open(wordings.LINEAGE, lambda image: facts.KIDNEY_LINEAGES[image.label]),
    ),
    **{
        (name, question_type): forms
        for name in ("organamnist", "organcmnist", "organsmnist")
        for question_type, forms in _CT.items()
    },
}
"""Forms of one source and question type."""
