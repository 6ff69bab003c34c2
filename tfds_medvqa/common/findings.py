"""Findings of a chest X-ray as a vector of 0 or 1 over fifteen classes."""

from collections.abc import Iterable, Sequence
from typing import Any

from tfds_medvqa.common.features import CLASSIFICATION
from tfds_medvqa.common.rows import ENGLISH, UNKNOWN

OTHER = "other"
FINDINGS = (
    "atelectasis",
    "cardiomegaly",
    "consolidation",
    "edema",
    "enlarged cardiomediastinum",
    "fracture",
    "lung lesion",
    "lung opacity",
    "no finding",
    "pleural effusion",
    "pleural other",
    "pneumonia",
    "pneumothorax",
    "support devices",
    OTHER,
)
"""CheXpert's fourteen labels (Irvin et al., 2019), and images that have none of them.

F³OCUS counts 15 labels for Open-I and MIMIC-CXR and names none; these are the distinct labels in
the splits of both that MedViLL (Moon et al., 2022) releases.
"""

SEPARATOR = ", "
"""Separator of findings where several stand in one text."""

NONE = "none of the findings"
"""Answer of an all-zero label vector; a Dirichlet partition treats it as one more label."""

QUESTION = "which findings does this chest x-ray show?"


def finding_vector(present: Iterable[str]) -> list[int]:
    """Returns 0 or 1 for each of `FINDINGS`; "other" where none of the fourteen is present.

    Raises:
      ValueError: for an unknown finding.
    """
    found = set(present)
    unknown = sorted(found - set(FINDINGS))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is none of the findings {', '.join(FINDINGS)}")
    if not found:
        found = {OTHER}
    return [int(name in found) for name in FINDINGS]


def findings_example(
    *,
    image: Any,
    image_id: str,
    report: str,
    present: Iterable[str],
    source: str,
    patient: str = UNKNOWN,
) -> dict[str, Any]:
    """Makes an example of multi-label classification.

    Args:
      image: Encoded image file, or a `SourceImage` that a `ManualBuilder` reads.
      image_id: Identifier of the image, unique over the dataset; an image has one example.
      report: Report that belongs to the image; "" for none.
      present: Names of its findings.
      source: Name of the dataset.
      patient: Identifier of the patient.

    Returns:
      The features by name; `label` is the vector over `FINDINGS`.
    """
    return labelled_example(
        image=image,
        image_id=image_id,
        example_id=f"{source}/{image_id}",
        question=" ".join(report.split()) or QUESTION,
        label=finding_vector(present),
        names=FINDINGS,
        source=source,
        patient=patient,
        language=ENGLISH,
    )


def labelled_example(
    *,
    image: Any,
    image_id: str,
    example_id: str,
    label: Sequence[int],
    names: Sequence[str],
    source: str,
    question: str = QUESTION,
    client: str | None = None,
    patient: str = UNKNOWN,
    language: str = UNKNOWN,
) -> dict[str, Any]:
    """Makes an example of a chest X-ray from its label vector.

    Args:
      image: Encoded image file, or a `SourceImage` that a `ManualBuilder` reads.
      image_id: Identifier of the image, unique over the dataset.
      example_id: Identifier of the example, unique over the dataset.
      label: 0 or 1 for each of `names`.
      names: Names of the findings.
      source: Name of the dataset.
      question: Question, or report that belongs to the image.
      client: Name of the hospital; None for the source.
      patient: Identifier of the patient, unique over the hospital.
      language: Language of the question or the report.

    Returns:
      The features by name; without any finding the answer is `NONE`.
    """
    present = [name for name, on in zip(names, label, strict=True) if on]
    return {
        "image": image,
        "image_id": image_id,
        "example_id": example_id,
        "task": CLASSIFICATION,
        "question": question,
        "answer": SEPARATOR.join(present) or NONE,
        "question_type": "findings",
        "answer_type": "open",
        "client": client or source,
        "patient": patient,
        "language": language,
        "modality": "x-ray",
        "anatomy": "chest",
        "source": source,
        "label": list(label),
    }
