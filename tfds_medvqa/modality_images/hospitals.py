"""Facts about six hospitals: folder, modality and labels in words."""

import dataclasses
from collections.abc import Mapping

from tfds_medvqa.medvqa_fl.sources import Source

HELD_OUT = "modalities"
"""Folder of the images of the hospitals."""
UPSTREAM = "upstream"
"""Folder of other images of the same sources, to pre-train on."""


@dataclasses.dataclass(frozen=True)
class Hospital:
    """One hospital.

    Attributes:
      folder: Name of its folder, with labels.csv in it.
      source: Name, modality and subject, as the forms of questions take them.
      labels: Label in labels.csv to its name in an answer.
      has_upstream: True if there are other images of its source to pre-train on.
    """

    folder: str
    source: Source
    labels: Mapping[str, str]
    has_upstream: bool = True

    @property
    def name(self) -> str:
        """Name of the hospital."""
        return self.source.client


def _hospital(
    folder: str, source: Source, *labels: str, has_upstream: bool = True, **renamed: str
) -> Hospital:
    """Makes a hospital; a label is the answer unless it is renamed."""
    words = {label: label for label in labels} | renamed
    return Hospital(folder, source, words, has_upstream)


HOSPITALS = {
    hospital.name: hospital
    for hospital in (
        _hospital(
            "ct_iqothnccd",
            Source("iq_oth_nccd", "chest_ct", "computed tomography", "chest", "chest ct"),
            *("normal", "benign", "malignant"),
            has_upstream=False,
        ),
        _hospital(
            "dermoscopy_ham10000",
            Source("ham10000", "dermoscopy", "dermatoscopy", "skin", "skin lesion"),
            *("actinic keratosis", "basal cell carcinoma", "benign keratosis", "dermatofibroma"),
            *("melanocytic nevus", "melanoma", "vascular lesion"),
        ),
        _hospital(
            "microscopy_pbc",
            Source("pbc", "blood_microscopy", "blood smear microscopy", "blood", "blood cell"),
            *("basophil", "eosinophil", "erythroblast", "immature granulocyte"),
            *("lymphocyte", "monocyte", "neutrophil", "platelet"),
        ),
        _hospital(
            "mri_brain_tumor",
            Source("brain_tumor", "brain_mri", "magnetic resonance imaging", "brain", "brain mri"),
            *("glioma", "meningioma", "no tumor"),
            pituitary="pituitary tumor",
        ),
        _hospital(
            "ultrasound_busi",
            Source("busi", "breast_ultrasound", "ultrasound", "breast", "breast ultrasound"),
            *("normal", "benign", "malignant"),
            has_upstream=False,
        ),
        _hospital(
            "xray_kermany",
            Source("kermany", "chest_xray", "x-ray", "chest", "chest x-ray"),
            *("normal", "bacterial pneumonia", "viral pneumonia"),
        ),
    )
}
"""Hospitals by name."""

MODALITIES = tuple(hospital.source.modality for hospital in HOSPITALS.values())
