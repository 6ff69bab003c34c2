"""Questions about the phantoms of each client, with their wordings and possible answers."""

import dataclasses

from tfds_medvqa.phantom_medvqa.drawing import MODALITIES


@dataclasses.dataclass(frozen=True)
class Question:
    """One question with its paraphrases.

    Attributes:
      fact: Name of the fact that answers it.
      question_type: One of `tfds_medvqa.common.features.QUESTION_TYPES`.
      share: Frequency relative to the client's other questions.
      answers: All possible answers.
      paraphrases: Wordings of the question.
    """

    fact: str
    question_type: str
    share: float
    answers: tuple[str, ...]
    paraphrases: tuple[str, ...]


ANATOMY, DIAGNOSIS, GRADING = "anatomy", "disease diagnosis", "disease grading"
TISSUE, ATTRIBUTES = "tissue identification", "biological attributes"
SIDES, CLOSED = ("left", "right"), ("yes", "no")


def _modality(client: str) -> Question:
    """Returns the question about the imaging modality, the same for every client."""
    return Question(
        "modality",
        "modality recognition",
        0.08,
        (MODALITIES[client].modality,),
        (
            "what imaging modality is shown?",
            "which modality was used to take this image?",
            "how was this image acquired?",
        ),
    )


def _classes(client: str, question_type: str, share: float, *paraphrases: str) -> Question:
    """Returns the question about the fact that is the client's label."""
    modality = MODALITIES[client]
    return Question(modality.label_fact, question_type, share, modality.label_classes, paraphrases)


def _closed(fact: str, question_type: str, share: float, *paraphrases: str) -> Question:
    return Question(fact, question_type, share, CLOSED, paraphrases)


def _side(fact: str, share: float, thing: str, question_type: str = ATTRIBUTES) -> Question:
    """Returns the question about the half of the image that contains something."""
    return Question(
        fact,
        question_type,
        share,
        SIDES,
        (
            f"on which side of the image is the {thing}?",
            f"which half of the image contains the {thing}?",
            f"is the {thing} on the left or on the right of the image?",
        ),
    )


_ASKED: dict[str, tuple[Question, ...]] = {
    "chest_xray": (
        _classes(
            "chest_xray",
            DIAGNOSIS,
            0.50,
            "what is the diagnosis for the lung in this image?",
            "what does this chest image show?",
            "which finding is present in the chest?",
        ),
        _side("side", 0.14, "opacity"),
        _closed(
            "enlarged heart", ANATOMY, 0.14, "is the heart enlarged?", "is the heart too wide?"
        ),
        _closed(
            "opacity",
            DIAGNOSIS,
            0.14,
            "is there an opacity in the lung?",
            "does this image show a lung opacity?",
        ),
    ),
    "oct": (
        _classes(
            "oct",
            DIAGNOSIS,
            0.46,
            "what is the diagnosis for the retina in this image?",
            "which disease does this retina show?",
            "what is seen in the layers of the retina?",
        ),
        _side("side", 0.14, "lesion"),
        _closed(
            "pit", ANATOMY, 0.16, "is the foveal pit visible?", "does the retina show a foveal pit?"
        ),
        _closed(
            "fluid", DIAGNOSIS, 0.16, "is there fluid in the retina?", "does the retina hold fluid?"
        ),
    ),
    "colon_pathology": (
        _classes(
            "colon_pathology",
            TISSUE,
            0.56,
            "which tissue is shown?",
            "what type of tissue is in this image?",
            "identify the tissue of the colon.",
        ),
        _closed(
            "tumor", DIAGNOSIS, 0.14, "does this image show malignancy?", "is a tumor present?"
        ),
        _closed("glands", ATTRIBUTES, 0.10, "are round glands visible?", "can glands be seen?"),
        _closed(
            "crowded nuclei",
            ATTRIBUTES,
            0.12,
            "are the nuclei crowded?",
            "do the nuclei lie close together?",
        ),
    ),
    "dermatoscope": (
        _classes(
            "dermatoscope",
            DIAGNOSIS,
            0.50,
            "what is the diagnosis for the skin lesion?",
            "which skin lesion is shown?",
            "what kind of lesion does the skin show?",
        ),
        _side("side", 0.14, "lesion"),
        _closed(
            "malignant", DIAGNOSIS, 0.14, "is the lesion malignant?", "does this show malignancy?"
        ),
        _closed("hair", ATTRIBUTES, 0.14, "are hairs visible?", "do hairs cross the image?"),
    ),
    "fundus": (
        _classes(
            "fundus",
            GRADING,
            0.48,
            "what is the grade of diabetic retinopathy?",
            "how severe is the diabetic retinopathy?",
            "which grade of retinopathy is shown?",
        ),
        _side("disc side", 0.14, "optic disc", ANATOMY),
        _closed(
            "retinopathy",
            DIAGNOSIS,
            0.16,
            "is there diabetic retinopathy?",
            "does the fundus show retinopathy?",
        ),
        _closed("exudates", ATTRIBUTES, 0.14, "are exudates visible?", "are there exudates?"),
    ),
    "breast_ultrasound": (
        _classes(
            "breast_ultrasound",
            DIAGNOSIS,
            0.48,
            "what is the diagnosis for the breast?",
            "is the breast normal, or is the finding benign or malignant?",
            "what does this image of the breast show?",
        ),
        _side("side", 0.14, "mass"),
        _closed("mass", DIAGNOSIS, 0.12, "is there a mass?", "does the breast show a mass?"),
        _closed("irregular", ATTRIBUTES, 0.09, "is the border irregular?", "has the mass spikes?"),
        _closed(
            "shadow", ATTRIBUTES, 0.09, "is there an acoustic shadow?", "is a dark shadow visible?"
        ),
    ),
    "blood_microscope": (
        _classes(
            "blood_microscope",
            TISSUE,
            0.50,
            "which blood cells are shown?",
            "what type of blood cell is this?",
            "identify the stained blood cells.",
        ),
        _side("side", 0.14, "stained cell"),
        _closed("nucleus", ANATOMY, 0.09, "is a cell nucleus visible?", "is there a nucleus?"),
        _closed("granules", ATTRIBUTES, 0.10, "are orange granules visible?", "is it granular?"),
        _closed("lobed", ATTRIBUTES, 0.09, "is the nucleus lobed?", "has the nucleus lobes?"),
    ),
    "kidney_cortex_microscope": (
        _classes(
            "kidney_cortex_microscope",
            TISSUE,
            0.58,
            "which structure of the kidney is shown?",
            "what type of kidney tissue is this?",
            "identify the structure in the kidney cortex.",
        ),
        _side("side", 0.16, "structure"),
        _closed("lumen", ATTRIBUTES, 0.18, "is a lumen visible?", "is there an open lumen?"),
    ),
    "abdominal_ct": (
        _classes(
            "abdominal_ct",
            ANATOMY,
            0.42,
            "what view of ct is seen?",
            "in which plane was this slice taken?",
            "which view is shown?",
        ),
        Question(
            "organ",
            ANATOMY,
            0.28,
            ("liver", "spleen", "kidney"),
            (
                "which organ contains the lesion?",
                "where is the lesion?",
                "in which organ does the lesion lie?",
            ),
        ),
        _closed("lesion", DIAGNOSIS, 0.22, "is there a lesion?", "does this slice show a lesion?"),
    ),
}

QUESTIONS: dict[str, tuple[Question, ...]] = {
    client: (_modality(client), *asked) for client, asked in _ASKED.items()
}
"""Questions of every client. The one about the modality has the smallest share, since it is the
only one that can be answered without the image if the client is known."""
