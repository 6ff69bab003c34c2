"""Count the patients of PneumoniaMNIST who cross its own splits, and those of `medvqa_fl`.

usage: python scripts/pneumonia_patients.py --data FOLDER

PneumoniaMNIST names no patients, but `modality_images` has the same X-rays with patients. FOLDER
holds `medmnist/pneumoniamnist.npz`, `modalities/xray_kermany` and `upstream/xray_kermany`. An image
counts as found if it and its best match are each other's, and correlate by more than 0.95.
"""

import argparse
import csv
import pathlib

import numpy as np
from PIL import Image

from tfds_medvqa.medvqa_fl import records
from tfds_medvqa.medvqa_fl.medvqa_fl_dataset_builder import released_split, training_images

SIDE = 28
FOLDERS = ("modalities/xray_kermany", "upstream/xray_kermany")

WIDTHS = np.arange(0.5, 1.01, 0.04)
"""Shares of the width that MedMNIST may have cut out; the copy is stretched to squares."""

CORRELATION = 0.95


def main() -> None:
    """Prints how many images are found, and the patients of each two splits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    folder = parser.parse_args().data
    record = records.load()["pneumoniamnist"]
    images_NHW, abnormal_N = read_medmnist(folder / "medmnist" / "pneumoniamnist.npz")
    pictures, patients, ill = read_pictures(folder)
    found = match(images_NHW, pictures)
    agree = sum(abnormal_N[image] == ill[picture] for image, picture in found.items())
    print(f"{len(found)} of {record.total} images found; the labels of {agree} agree")
    ids, training = list(record.image_ids()), training_images(record)
    for title, split_of in (
        ("MedMNIST's own splits", released_split),
        ("split anew", lambda image_id: "train" if image_id in training else "test"),
    ):
        by_split: dict[str, set[str]] = {}
        for image, picture in found.items():
            by_split.setdefault(split_of(ids[image]), set()).add(patients[picture])
        print(f"{title}: {describe(by_split)}")


def read_medmnist(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns (images_NHW, True for pneumonia [N]) of all splits, in the order of their ids."""
    with np.load(path) as arrays:
        parts = [(arrays[f"{s}_images"], arrays[f"{s}_labels"]) for s in records.MEDMNIST_SPLITS]
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels)[:, 0] > 0


def read_pictures(folder: pathlib.Path) -> tuple[list[Image.Image], list[str], list[bool]]:
    """Returns (pictures, the patient of each, True for pneumonia)."""
    pictures, patients, ill = [], [], []
    for part in FOLDERS:
        with (folder / part / "labels.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                with Image.open(folder / part / row["image"]) as image:
                    pictures.append(image.convert("L"))
                patients.append(row["patient"])
                ill.append(row["label"] != "normal")
    return pictures, patients, ill


def match(images_NHW: np.ndarray, pictures: list[Image.Image]) -> dict[int, int]:
    """Returns index of an image to that of the same picture, for those that are found."""
    known_ND = standardise(images_NHW)
    best_NM = np.full((len(images_NHW), len(pictures)), -1, np.float32)
    for share in WIDTHS:
        cut = np.stack([cut_out(picture, float(share)) for picture in pictures])
        np.maximum(best_NM, known_ND @ standardise(cut).T, out=best_NM)
    picture_N, image_M = best_NM.argmax(axis=1), best_NM.argmax(axis=0)
    return {
        image: int(picture)
        for image, picture in enumerate(picture_N)
        if image_M[picture] == image and best_NM[image, picture] > CORRELATION
    }


def cut_out(picture: Image.Image, share: float) -> np.ndarray:
    """Returns a central share of the width in MedMNIST's size."""
    width, height = picture.size
    margin = (1 - min(share, 1)) * width / 2
    box = (margin, 0, width - margin, height)
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box))


def standardise(images_NHW: np.ndarray) -> np.ndarray:
    """Returns float32 [N, pixels] of mean 0 and length 1, whose products are correlations."""
    flat_ND = images_NHW.reshape(len(images_NHW), -1).astype(np.float32)
    flat_ND -= flat_ND.mean(axis=1, keepdims=True)
    return flat_ND / np.maximum(np.linalg.norm(flat_ND, axis=1, keepdims=True), 1e-6)


def describe(by_split: dict[str, set[str]]) -> str:
    """Returns the patients of each split, and of each two."""
    order = [split for split in ("train", "validation", "test") if split in by_split]
    parts = [f"{len(by_split[split])} patients in {split}" for split in order]
    for number, first in enumerate(order):
        for second in order[number + 1 :]:
            parts.append(f"{len(by_split[first] & by_split[second])} in {first} and {second}")
    return ", ".join(parts)


if __name__ == "__main__":
    main()
