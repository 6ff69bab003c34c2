"""Which hospital is made of which MedMNIST subset, and what does every image of it show?"""

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
"""The organ subsets' labels as people say them, and their anatomical category."""


@dataclasses.dataclass(frozen=True)
class Source:
    """One MedMNIST subset in its hospital.

    Attributes:
      name: of the subset.
      client: the hospital.
      modality: how the images were taken, as an answer.
      anatomy: the anatomical category; None where the label decides it.
      region: what a question about a disease calls the part of the body, which may be wider or
        narrower than its category: an enlarged heart is a diagnosis for the chest.
      view: the plane of a CT slice, or None.
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
"""The twelve subsets, in the order of the paper's clients."""

CLIENTS = tuple(dict.fromkeys(source.client for source in SOURCES.values()))
"""The nine clients."""

MODALITIES = tuple(dict.fromkeys(source.modality for source in SOURCES.values()))


def sources_of(client: str) -> tuple[str, ...]:
    """Returns the subsets a client is made of."""
    return tuple(source.name for source in SOURCES.values() if source.client == client)
