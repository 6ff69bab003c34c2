"""Forms of question for every source, and the right answers according to the labels.

A form maps an image to wordings, the value of {thing} in them, and the answer. It is open or closed
(yes or no); every answer follows from the image's labels.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from tfds_medvqa.common.draws import Draws
from tfds_medvqa.medvqa_fl import facts, wordings
from tfds_medvqa.medvqa_fl.sources import ANATOMIES, MODALITIES, ORGANS, Source

MODALITY = "modality recognition"
ANATOMY = "anatomy"
DIAGNOSIS = "disease diagnosis"
GRADING = "disease grading"
TISSUE = "tissue identification"
ATTRIBUTES = "biological attributes"


@dataclasses.dataclass(frozen=True)
class Image:
    """Facts about one image: its random draws, its source and its labels by name."""

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

    @property
    def region(self) -> str:
        """Part of the body named in questions about a disease."""
        return self.source.region or self.anatomy


FilledForm = tuple[Sequence[str], str, str]
"""(wordings, value of {thing}, answer)."""

Form = Callable[[Image], FilledForm]

Things = tuple[Sequence[str], Sequence[str]]
"""(things that are true of an image, things that are false)."""


def yes_no(
    image: Image, true_things: Sequence[str], false_things: Sequence[str]
) -> tuple[str, str]:
    """Chooses the subject of a closed question.

    Args:
      image: Image that the question is about.
      true_things: Things that are true of the image; may be empty.
      false_things: Things that are false; may be empty, but not both.

    Returns:
      (thing, "yes" or "no"), equally likely if both are possible.
    """
    wants_yes = image.draws.choice("yes or no", (True, False))
    if true_things and (wants_yes or not false_things):
        return image.draws.choice("asked", true_things), "yes"
    return image.draws.choice("asked", false_things), "no"


def closed(sentences: Sequence[str], things: Callable[[Image], Things]) -> Form:
    """Makes a closed form from true and false things."""
    return lambda image: (sentences, *yes_no(image, *things(image)))


def open_question(sentences: Sequence[str], answer: Callable[[Image], str]) -> Form:
    """Makes an open form; {thing} is the region."""
    return lambda image: (sentences, image.region, answer(image))


def decision(
    sentences: Sequence[str], holds: Callable[[Image], bool], thing: str | None = None
) -> Form:
    """Makes a closed form about a fixed thing; {thing} is the region unless given."""
    return lambda image: (sentences, thing or image.region, "yes" if holds(image) else "no")


def against(one: str, every: Sequence[str], never: Sequence[str] = ()) -> Things:
    """Returns one thing as true and all others as false, without those in `never`."""
    return (one,), tuple(thing for thing in every if thing != one and thing not in never)


def _modalities(image: Image) -> Things:
    own = image.source.modality
    return against(own, MODALITIES, never=facts.ALSO_USED.get(own, ()))


def _anatomies(image: Image) -> Things:
    never = facts.ALSO_IMAGED.get(image.source.client, ())
    return against(image.anatomy, ANATOMIES, never)


def _organs(image: Image) -> Things:
    return against(ORGANS[image.label][0], [organ for organ, _ in ORGANS.values()])


def _kidney_cells(image: Image) -> Things:
    return against(facts.KIDNEY_CELLS[image.label], tuple(facts.KIDNEY_CELLS.values()))


def _with_articles(names: Mapping[str, str]) -> Callable[[Image], Things]:
    """Makes the true and false things, with articles, of a single label."""
    every = tuple(facts.with_article(name) for name in names.values())
    return lambda image: against(facts.with_article(names[image.label]), every)


def _chest_findings(image: Image) -> Things:
    def in_words(label: str) -> str:
        name = facts.CHEST_FINDINGS[label]
        return facts.with_article(name) if name in facts.COUNTABLE else name

    absent = tuple(in_words(label) for label in image.all_labels if label not in image.labels)
    return tuple(in_words(label) for label in image.labels), absent


def _chest_diagnosis(image: Image) -> FilledForm:
    """Returns an open question if there is one right answer, otherwise a closed one."""
    if len(image.labels) > 1:
        return closed(wordings.HAS_FINDING, _chest_findings)(image)
    found = facts.CHEST_FINDINGS[image.label] if image.labels else "no finding"
    return wordings.DIAGNOSIS, image.region, found


def _oct_diseases(image: Image) -> Things:
    present = tuple(disease for disease in facts.OCT_DISEASES if disease == image.label)
    return present, tuple(disease for disease in facts.OCT_DISEASES if disease != image.label)


def _grades(image: Image) -> Things:
    own = int(image.label)
    reached = tuple(f"grade {grade}" for grade in range(1, own + 1))
    return reached, tuple(f"grade {grade}" for grade in range(own + 1, 5))


_colon_cancer = decision(wordings.COLON_CANCER, lambda image: image.label in facts.COLON_CANCER)


def _colon_diagnosis(image: Image) -> FilledForm:
    """Returns an open question if the tissue class is a diagnosis, otherwise a closed one."""
    diagnosis = facts.COLON_DIAGNOSES.get(image.label)
    if diagnosis is None:
        return _colon_cancer(image)
    return wordings.DIAGNOSIS, image.region, diagnosis


_lineage = open_question(wordings.LINEAGE, lambda image: facts.KIDNEY_LINEAGES[image.label])


def _compartment(image: Image) -> FilledForm:
    """Returns the question for a cell's compartment, or for its lineage if that is unknown."""
    compartment = facts.KIDNEY_COMPARTMENTS.get(image.label)
    return (wordings.COMPARTMENT, "", compartment) if compartment else _lineage(image)


GENERAL: Mapping[str, Sequence[Form]] = {
    MODALITY: (
        open_question(wordings.MODALITY, lambda image: image.source.modality),
        closed(wordings.IS_MODALITY, _modalities),
    ),
    ANATOMY: (
        open_question(wordings.ANATOMY, lambda image: image.anatomy),
        closed(wordings.IS_ANATOMY, _anatomies),
    ),
}
"""Forms of all sources."""

_view = open_question(wordings.VIEW, lambda image: str(image.source.view))
_organ = open_question(wordings.ORGAN, lambda image: ORGANS[image.label][0])
_blood_cell = open_question(wordings.BLOOD_CELL, lambda image: facts.BLOOD_CELLS[image.label])

# A form that is listed twice is twice as likely.
_CT: Mapping[str, Sequence[Form]] = {
    MODALITY: (*GENERAL[MODALITY], _view, _view),
    ANATOMY: (_organ, _organ, closed(wordings.IS_ORGAN, _organs)),
    ATTRIBUTES: (
        open_question(wordings.SIDE, lambda image: facts.side(image.label)),
        decision(wordings.IS_PAIRED, lambda image: facts.side(image.label) != "unpaired"),
    ),
}

SPECIFIC: Mapping[tuple[str, str], Sequence[Form]] = {
    ("chestmnist", DIAGNOSIS): (
        _chest_diagnosis,
        closed(wordings.HAS_FINDING, _chest_findings),
        decision(wordings.IS_ABNORMAL, lambda image: bool(image.labels)),
    ),
    ("pneumoniamnist", DIAGNOSIS): (
        open_question(wordings.DIAGNOSIS, lambda image: image.label),
        decision(wordings.HAS_FINDING, lambda image: image.label == "pneumonia", "pneumonia"),
        decision(wordings.IS_ABNORMAL, lambda image: image.label == "pneumonia"),
    ),
    ("octmnist", DIAGNOSIS): (
        open_question(wordings.DIAGNOSIS, lambda image: image.label),
        closed(wordings.HAS_FINDING, _oct_diseases),
        decision(wordings.IS_ABNORMAL, lambda image: image.label != "normal"),
    ),
    ("pathmnist", DIAGNOSIS): (_colon_diagnosis, _colon_cancer),
    ("pathmnist", TISSUE): (
        open_question(wordings.TISSUE, lambda image: image.label),
        closed(wordings.IS_TISSUE, lambda image: against(image.label, image.all_labels)),
    ),
    ("dermamnist", DIAGNOSIS): (
        open_question(wordings.SKIN_LESION, lambda image: facts.SKIN_LESIONS[image.label]),
        closed(wordings.IS_SKIN_LESION, _with_articles(facts.SKIN_LESIONS)),
        decision(wordings.IS_MELANOCYTIC, lambda image: image.label in facts.MELANOCYTIC),
    ),
    ("retinamnist", GRADING): (
        open_question(wordings.GRADE, lambda image: f"grade {image.label}"),
        closed(wordings.GRADE_AT_LEAST, _grades),
    ),
    ("retinamnist", DIAGNOSIS): (
        decision(wordings.HAS_FINDING, lambda image: image.label != "0", "diabetic retinopathy"),
    ),
    ("breastmnist", DIAGNOSIS): (
        open_question(wordings.BREAST, lambda image: facts.BREAST_DIAGNOSES[image.label]),
        decision(wordings.MALIGNANCY, lambda image: image.label == "malignant"),
    ),
    ("bloodmnist", ATTRIBUTES): (
        _blood_cell,
        _blood_cell,
        closed(wordings.IS_BLOOD_CELL, _with_articles(facts.BLOOD_CELLS)),
        decision(
            wordings.IS_GRANULOCYTE,
            lambda image: facts.BLOOD_CELLS[image.label] in facts.GRANULOCYTES,
        ),
        decision(wordings.HAS_NUCLEUS, lambda image: image.label != "platelet"),
    ),
    ("tissuemnist", TISSUE): (
        open_question(wordings.KIDNEY_CELL, lambda image: facts.KIDNEY_CELLS[image.label]),
        closed(wordings.IS_KIDNEY_CELL, _kidney_cells),
    ),
    ("tissuemnist", ATTRIBUTES): (_compartment, _lineage),
    **{
        (name, question_type): forms
        for name in ("organamnist", "organcmnist", "organsmnist")
        for question_type, forms in _CT.items()
    },
}
"""Maps (source, question type) to its forms."""
