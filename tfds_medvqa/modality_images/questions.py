"""Question of an image, and its answer according to the image's label.

Every image has one triplet, drawn from its file's name. The wordings are short, so that no question
loses its subject where few tokens are read.
"""

from collections.abc import Mapping, Sequence

from tfds_medvqa.common.draws import Draws
from tfds_medvqa.medvqa_fl import facts
from tfds_medvqa.medvqa_fl.forms import (
    ATTRIBUTES,
    DIAGNOSIS,
    MODALITY,
    Form,
    Image,
    Things,
    against,
    closed,
    decision,
    open_question,
)
from tfds_medvqa.medvqa_fl.questions import Triplet
from tfds_medvqa.modality_images.hospitals import MODALITIES, Hospital

MODALITY_SHARE = 0.1
"""Share of the images that are asked for their modality."""

_MODALITY: Sequence[Form] = (
    open_question(
        ("which imaging modality is this?", "how was this image taken?"),
        lambda image: image.source.modality,
    ),
    closed(
        ("is this {thing}?", "was this taken by {thing}?"),
        lambda image: against(image.source.modality, MODALITIES, ("x-ray",)),
    ),
)


def _labels(image: Image) -> Things:
    return against(facts.with_article(image.label), list(map(facts.with_article, image.all_labels)))


def _states(image: Image) -> Things:
    return against(image.label, image.all_labels)


def _label_of(*wordings: str) -> Form:
    """Makes the open form whose answer is the label."""
    return open_question(wordings, lambda image: image.label)


_ABNORMAL = decision(
    ("is this {thing} abnormal?", "does this {thing} show any disease?"),
    lambda image: image.label not in ("normal", "no tumor"),
)
_TUMOUR_STATE: Sequence[Form] = (
    *2
    * (_label_of("is this {thing} normal, benign or malignant?", "what does this {thing} show?"),),
    closed(("is this {thing}?", "would you call this {thing}?"), _states),
    _ABNORMAL,
)

FORMS: Mapping[str, Sequence[Form]] = {
    "chest_ct": _TUMOUR_STATE,
    "breast_ultrasound": _TUMOUR_STATE,
    "dermoscopy": (
        *2 * (_label_of("which kind of skin lesion is this?", "what is this skin lesion?"),),
        closed(("is this {thing}?", "is this skin lesion {thing}?"), _labels),
        decision(
            ("is this skin lesion melanocytic?", "does this lesion arise from melanocytes?"),
            lambda image: image.label in ("melanoma", "melanocytic nevus"),
        ),
    ),
    "blood_microscopy": (
        *2 * (_label_of("which blood cell is this?", "what type of blood cell is shown?"),),
        closed(("is this {thing}?", "is this blood cell {thing}?"), _labels),
        decision(
            ("is this blood cell a granulocyte?", "does this cell belong to the granulocytes?"),
            lambda image: image.label in facts.GRANULOCYTES,
        ),
    ),
    "brain_mri": (
        *2 * (_label_of("which tumor does this {thing} show?", "what is seen in this {thing}?"),),
        closed(("does this image show {thing}?", "is there {thing} here?"), _states),
        _ABNORMAL,
    ),
    "chest_xray": (
        *2 * (_label_of("what is the diagnosis of this {thing}?", "what does this {thing} show?"),),
        closed(("is this {thing}?", "would you call this {thing}?"), _states),
        _ABNORMAL,
    ),
}
"""Hospital to the forms of its questions about the label; one that is listed twice is twice as
likely."""


KINDS = {"blood_microscopy": ATTRIBUTES}
"""Question type of the hospitals whose label is no diagnosis."""


def ask(image_id: str, hospital: Hospital, label: str) -> Triplet:
    """Makes an image's triplet.

    Args:
      image_id: Identifier of the image.
      hospital: Hospital of the image.
      label: Label of the image, a key of the hospital's labels.

    Returns:
      The triplet; the same for the same image in every build.
    """
    draws = Draws(image_id)
    image = Image(
        draws, hospital.source, (hospital.labels[label],), tuple(hospital.labels.values())
    )
    asks_modality = draws.fraction("type") < MODALITY_SHARE
    forms = _MODALITY if asks_modality else FORMS[hospital.name]
    sentences, thing, answer = draws.choice("form", forms)(image)
    question = draws.choice("wording", sentences).format(thing=thing)
    kind = MODALITY if asks_modality else KINDS.get(hospital.name, DIAGNOSIS)
    return Triplet(question, answer, kind, image.anatomy)
