"""Medical meaning of MedMNIST's labels: names in words, and facts that follow from them."""

from tfds_medvqa.medvqa_fl.sources import ORGANS

CHEST_FINDINGS = {
    "atelectasis": "atelectasis",
    "cardiomegaly": "cardiomegaly",
    "effusion": "effusion",
    "infiltration": "infiltration",
    "mass": "mass",
    "nodule": "nodule",
    "pneumonia": "pneumonia",
    "pneumothorax": "pneumothorax",
    "consolidation": "consolidation",
    "edema": "edema",
    "emphysema": "emphysema",
    "fibrosis": "fibrosis",
    "pleural": "pleural thickening",
    "hernia": "hernia",
}
"""ChestX-ray14's findings; MedMNIST abbreviates one name."""

COUNTABLE = frozenset({"effusion", "mass", "nodule", "pneumothorax", "hernia"})
"""Findings that take an article; the others are states of the lung."""

OCT_DISEASES = ("choroidal neovascularization", "diabetic macular edema", "drusen")

BREAST_DIAGNOSES = {"malignant": "malignant", "normal, benign": "normal or benign"}

COLON_DIAGNOSES = {
    "normal colon mucosa": "normal",
    "colorectal adenocarcinoma epithelium": "colorectal adenocarcinoma",
}
"""Tissue classes that are a diagnosis."""

COLON_CANCER = frozenset({"colorectal adenocarcinoma epithelium", "cancer-associated stroma"})
"""Tissue classes that are cancer or associated with it."""

SKIN_LESIONS = {
    "actinic keratoses and intraepithelial carcinoma": (
        "actinic keratosis or intraepithelial carcinoma"
    ),
    "basal cell carcinoma": "basal cell carcinoma",
    "benign keratosis-like lesions": "benign keratosis-like lesion",
    "dermatofibroma": "dermatofibroma",
    "melanoma": "melanoma",
    "melanocytic nevi": "melanocytic nevus",
    "vascular lesions": "vascular lesion",
}

MELANOCYTIC = frozenset({"melanoma", "melanocytic nevi"})

BLOOD_CELLS = {
    "basophil": "basophil",
    "eosinophil": "eosinophil",
    "erythroblast": "erythroblast",
    "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)": "immature granulocyte",
    "lymphocyte": "lymphocyte",
    "monocyte": "monocyte",
    "neutrophil": "neutrophil",
    "platelet": "platelet",
}

GRANULOCYTES = frozenset({"basophil", "eosinophil", "immature granulocyte", "neutrophil"})

KIDNEY_CELLS = {
    "Collecting Duct, Connecting Tubule": "collecting duct or connecting tubule",
    "Distal Convoluted Tubule": "distal convoluted tubule",
    "Glomerular endothelial cells": "glomerular endothelial cells",
    "Interstitial endothelial cells": "interstitial endothelial cells",
    "Leukocytes": "leukocytes",
    "Podocytes": "podocytes",
    "Proximal Tubule Segments": "proximal tubule segments",
    "Thick Ascending Limb": "thick ascending limb",
}

KIDNEY_COMPARTMENTS = {
    "Collecting Duct, Connecting Tubule": "tubule",
    "Distal Convoluted Tubule": "tubule",
    "Glomerular endothelial cells": "glomerulus",
    "Interstitial endothelial cells": "interstitium",
    "Podocytes": "glomerulus",
    "Proximal Tubule Segments": "tubule",
    "Thick Ascending Limb": "tubule",
}
"""Leukocytes are absent: they migrate, and the label does not give their location."""

KIDNEY_LINEAGES = {
    "Collecting Duct, Connecting Tubule": "epithelial",
    "Distal Convoluted Tubule": "epithelial",
    "Glomerular endothelial cells": "endothelial",
    "Interstitial endothelial cells": "endothelial",
    "Leukocytes": "immune",
    "Podocytes": "epithelial",
    "Proximal Tubule Segments": "epithelial",
    "Thick Ascending Limb": "epithelial",
}

ALSO_IMAGED = {"chest_xray": ("heart",)}
"""Further anatomical categories that a client's images show; "no" is never their answer."""

ALSO_USED = {"computed tomography": ("x-ray",)}
"""Modalities that are part of another one; "no" is never their answer."""


def with_article(name: str) -> str:
    """Returns "a nodule" or "an effusion"."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def side(organ_label: str) -> str:
    """Returns the side of the body on which an organ lies: left, right or unpaired."""
    first = ORGANS[organ_label][0].split()[0]
    return first if first in ("left", "right") else "unpaired"
