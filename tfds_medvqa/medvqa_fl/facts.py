"""What do MedMNIST's labels mean to a physician? Names in words, and what follows from them."""

from typing import Protocol

from tfds_medvqa.medvqa_fl.sources import ORGANS


class Labelled(Protocol):
    """Anything with a single label."""

    @property
    def label(self) -> str:
        """The label, as MedMNIST spells it."""


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
"""ChestX-ray14's findings; MedMNIST shortens the name of one."""

OCT_FINDINGS = {
    "choroidal neovascularization": "choroidal neovascularization",
    "diabetic macular edema": "diabetic macular edema",
    "drusen": "drusen",
    "normal": "a normal retina",
}

BREAST_DIAGNOSES = {"malignant": "malignant", "normal, benign": "normal or benign"}

COLON_DIAGNOSES = {
    "normal colon mucosa": "normal",
    "colorectal adenocarcinoma epithelium": "colorectal adenocarcinoma",
}
"""The tissue classes that are a diagnosis."""

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

GRANULOCYTES = ("basophil", "eosinophil", "immature granulocyte", "neutrophil")

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
    "Leukocytes": "interstitium",
    "Podocytes": "glomerulus",
    "Proximal Tubule Segments": "tubule",
    "Thick Ascending Limb": "tubule",
}

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


def is_colon_cancer(image: Labelled) -> bool:
    """Tells whether a colon patch shows cancer or the stroma that comes with it."""
    return image.label in ("colorectal adenocarcinoma epithelium", "cancer-associated stroma")


def is_granulocyte(image: Labelled) -> bool:
    """Tells whether a blood cell is a granulocyte, mature or not."""
    return BLOOD_CELLS[image.label] in GRANULOCYTES


def side(image: Labelled) -> str:
    """Returns the side of the body an organ lies on: left, right or unpaired."""
    name = ORGANS[image.label][0]
    first = name.split()[0]
    return first if first in ("left", "right") else "unpaired"
