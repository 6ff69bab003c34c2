"""Which tiny files, laid out as each dataset is released, do the builders' dummy_data folders hold?

`python -m tests.tfds_medvqa.dummy_files` writes them anew; a test checks that they are what is
committed. Pictures and answers are made up.
"""

import json
import pathlib
from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image

from tests.tfds_medvqa import medmnist_files
from tfds_medvqa.medvqa_fl import records

DATASETS = pathlib.Path(__file__).resolve().parents[2] / "tfds_medvqa"

COMPRESSED = (".npz", ".parquet", ".gz")
"""Files whose bytes may depend on the version of a compressor."""


def picture(path: pathlib.Path, number: int, mode: str = "RGB") -> None:
    """Writes a gradient of its own colour, 12 x 9 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    y_HW, x_HW = np.mgrid[0:9, 0:12]
    channels = [(x_HW * 7 + 29 * number) % 256, y_HW * 11 + number, 5 * number + 0 * x_HW]
    image = Image.fromarray(np.stack(channels, -1).astype(np.uint8)).convert(mode)
    image.save(path)


def write_lines(path: pathlib.Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_json(path: pathlib.Path, content: object) -> None:
    write_lines(path, [json.dumps(content, indent=1, ensure_ascii=False)])


def medvqa_fl(folder: pathlib.Path) -> None:
    """All twelve subsets, with ten images each."""
    for name in records.load():
        medmnist_files.write(folder, name, counts=medmnist_files.FEW)


def vqa_rad(folder: pathlib.Path) -> None:
    """Stray spaces, a number as answer, two question types and one question's shared image."""
    rows = [
        ("freeform", "a.jpg", "HEAD", "PRES", "Is there  a mass?", "Yes", "CLOSED "),
        ("para", "a.jpg", "HEAD", "PRES", "Can a mass be seen?", "yes", "CLOSED"),
        ("freeform", "b.jpg", "CHEST", "POS, ABN", "Where is the nodule?", "Left  Lung.", "OPEN"),
        ("freeform", "c.jpg", "ABD", "ATRIB", "How many cysts are there?", 2, "OPEN"),
        ("test_freeform", "a.jpg", "HEAD", "PRSE", "Is this normal?", "No ", "CLOSED"),
        ("test_para", "d.jpg", "ABD", "COUNT", "How many stones are there?", "Two", "OPEN"),
    ]
    names = ("phrase_type", "image_name", "image_organ", "question_type", "question", "answer")
    keys = (*names, "answer_type")
    entries = [{"qid": i, **dict(zip(keys, row, strict=True))} for i, row in enumerate(rows)]
    write_json(folder / "VQA_RAD Dataset Public.json", entries)
    for number, name in enumerate("abcd"):
        picture(folder / "VQA_RAD Image Folder" / f"{name}.jpg", number, "L")


def vqa_med_2019(folder: pathlib.Path) -> None:
    """Three training images, one of validation and two of test, one with alternatives."""
    questions = (
        ("Modality", "what modality is shown?", "ct with iv contrast"),
        ("Plane", "which plane is this?", "axial"),
        ("Organ", "what organ is shown?", "lung, mediastinum, pleura"),
        ("Abnormality", "is this abnormal?", "yes"),
    )
    numbers = {"train": (1, 2, 3), "val": (4,)}
    for split, name in (("train", "Training"), ("val", "Validation")):
        part = folder / f"ImageClef-2019-VQA-Med-{name}"
        for place, (category, question, answer) in enumerate(questions, start=1):
            lines = [f"synpic{number}|{question}|{answer}" for number in numbers[split]]
            file = part / "QAPairsByCategory" / f"C{place}_{category}_{split}.txt"
            write_lines(file, lines)
        for number in numbers[split]:
            picture(part / f"{split.capitalize()}_images" / f"synpic{number}.jpg", number)
    part = folder / "VQAMed2019Test"
    references = [
        "synpic5|organ|which organ is this?|breast",
        "synpic6|abnormality|what is abnormal?|(large) glioma#a mass",
    ]
    write_lines(part / "VQAMed2019_Test_Questions_w_Ref_Answers.txt", references)
    for number in (5, 6):
        picture(part / "VQAMed2019_Test_Images" / f"synpic{number}.jpg", number)


WRITERS: dict[str, Callable[[pathlib.Path], None]] = {
    "medvqa_fl": medvqa_fl,
    "vqa_med_2019": vqa_med_2019,
    "vqa_rad": vqa_rad,
}

if __name__ == "__main__":
    for dataset, write in WRITERS.items():
        write(DATASETS / dataset / "dummy_data")
