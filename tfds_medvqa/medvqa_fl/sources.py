"""Assignment of MedMNIST's subsets to hospitals, and common facts about their images."""

import dataclasses

ANATOMIES = (
    "blood",
    "breast",
    "colon",
    "eye",
    "heart",
    "kidney",
    "liver",
    "lung",
    "pancreas",
    "pelvis",
    "skin",
    "spleen",
)
"""The twelve anatomical categories."""

ORGANS = {
    "bladder": ("bladder", "pelvis"),
    "femur-left": ("left femur", "pelvis"),
    "femur-right": ("right femur", "pelvis"),
    "heart": ("heart", "heart"),
    "kidney-left": ("left kidney", "kidney"),
    "kidney-right": ("right kidney", "kidney"),
    "liver": ("liver", "liver"),
    "lung-left": ("left lung", "lung"),
    "lung-right": ("right lung", "lung"),
    "pancreas": ("pancreas", "pancreas"),
    "spleen": ("spleen", "spleen"),
}
"""Label of the organ subsets to its name in words and its anatomical category."""


@dataclasses.dataclass(frozen=True)
class Source:
    """One MedMNIST subset in its hospital.

    Attributes:
      name: Name of the subset.
      client: Name of the hospital.
      modality: Imaging modality, as an answer.
      anatomy: Anatomical category; None if it depends on the label.
      region: Part of the body named in questions about a disease, which may be wider or narrower
        than the category: an enlarged heart is a diagnosis for the chest.
      view: Plane of a CT slice, or None.
    """

    name: str
    client: str
    modality: str
    anatomy: str | None
    region: str | None
    view: str | None = None


SOURCES = {
    source.name: source
    for source in (
        Source("chestmnist", "chest_xray", "x-ray", "lung", "chest"),
        Source("pneumoniamnist", "chest_xray", "x-ray", "lung", "chest"),
        Source("octmnist", "oct", "optical coherence tomography", "eye", "retina"),
        Source("pathmnist", "colon_pathology", "histopathology", "colon", "colon"),
        Source("dermamnist", "dermatoscope", "dermatoscopy", "skin", "skin"),
        Source("retinamnist", "fundus", "fundus photography", "eye", "retina"),
        Source("breastmnist", "breast_ultrasound", "ultrasound", "breast", "breast"),
        Source("bloodmnist", "blood_microscope", "blood smear microscopy", "blood", "blood"),
        Source(
            "tissuemnist",
            "kidney_cortex_microscope",
            "fluorescence microscopy",
            "kidney",
            "kidney",
        ),
        Source("organamnist", "abdominal_ct", "computed tomography", None, None, "axial"),
        Source("organcmnist", "abdominal_ct", "computed tomography", None, None, "coronal"),
        Source("organsmnist", "abdominal_ct", "computed tomography", None, None, "sagittal"),
    )
}
"""Twelve subsets in the order of the paper's clients."""

CLIENTS = tuple(dict.fromkeys(source.client for source in SOURCES.values()))
"""The nine clients."""

MODALITIES = tuple(dict.fromkeys(source.modality for source in SOURCES.values()))


def sources_of(client: str) -> tuple[str, ...]:
    """Returns the subsets of a client."""
    return tuple(source.name for source in SOURCES.values() if source.client == client)
