"""Imaging modality of every client, and the facts that its images can show."""

from tfds_medvqa.phantom_medvqa.drawing import abdomen, breast, cells, chest, eye, skin, tissue
from tfds_medvqa.phantom_medvqa.drawing.facts import Facts, Modality

__all__ = ["MODALITIES", "Facts", "Modality"]

MODALITIES: dict[str, Modality] = {
    "chest_xray": chest.MODALITY,
    "oct": eye.OCT,
    "colon_pathology": tissue.MODALITY,
    "dermatoscope": skin.MODALITY,
    "fundus": eye.FUNDUS,
    "breast_ultrasound": breast.MODALITY,
    "blood_microscope": cells.BLOOD,
    "kidney_cortex_microscope": cells.KIDNEY,
    "abdominal_ct": abdomen.MODALITY,
}
