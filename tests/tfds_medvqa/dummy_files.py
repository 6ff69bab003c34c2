"""Tiny files in the layout of each dataset's release, for the builders' dummy_data folders.

`python -m tests.tfds_medvqa.dummy_files` writes them anew; a test checks that they are what is
committed. Pictures and answers are made up.
"""

import csv
import gzip
import io
import json
import pathlib
from collections.abc import Callable, Iterable

import numpy as np
import pyarrow
from PIL import Image
from pyarrow import parquet

from tests.helpers.paths import DATASETS
from tests.tfds_medvqa import medmnist_files
from tfds_medvqa.common.draws import Draws
from tfds_medvqa.common.findings import FINDINGS
from tfds_medvqa.kvasir_vqa.kvasir_vqa_dataset_builder import TEST_SHARE
from tfds_medvqa.medvqa_fl import records
from tfds_medvqa.modality_images.hospitals import HELD_OUT, HOSPITALS, UPSTREAM, Hospital
from tfds_medvqa.modality_images.modality_images_dataset_builder import (
    LABELS,
    TEST_SHARE as UPSTREAM_TEST_SHARE,
)
from tfds_medvqa.omni_med_vqa.omni_med_vqa_dataset_builder import TRAIN_SHARE

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


def slake(folder: pathlib.Path) -> None:
    """Questions in both languages about images of their own per split."""
    root = folder / "Slake1.0"
    asked = (
        ("en", "What modality is used?", "MRI", "OPEN", "Modality"),
        ("zh", "图像中有肝脏吗", "有", "CLOSED", "Organ"),
        ("en", "Is the lung healthy?", "No", "CLOSED", "Abnormality"),
    )
    keys = ("q_lang", "question", "answer", "answer_type", "content_type")
    for part, split in enumerate(("train", "validate", "test")):
        entries = [
            {"qid": 10 * part + place, "img_id": part, "img_name": f"xmlab{part}/source.jpg"}
            | {"modality": "MRI", "location": "Chest_heart", "base_type": "vqa"}
            | dict(zip(keys, row, strict=True))
            for place, row in enumerate(asked)
        ]
        write_json(root / f"{split}.json", entries)
        picture(root / "imgs" / f"xmlab{part}" / "source.jpg", part)


def write_pairs(folder: pathlib.Path, file: str, images: str, numbers: Iterable[int]) -> None:
    """A question file of ImageCLEF with its image folder."""
    numbers = list(numbers)
    lines = [f"synpic{number}|what is abnormal?|finding {number}" for number in numbers]
    write_lines(folder / file, lines)
    for number in numbers:
        picture(folder / images / f"synpic{number}.jpg", number)


def write_test_pairs(
    folder: pathlib.Path, questions: str, references: str, images: str, numbers: Iterable[int]
) -> None:
    """A test set of ImageCLEF: the answers in a file of their own, with a second right one."""
    numbers = list(numbers)
    write_lines(folder / questions, [f"synpic{n}|what is abnormal?" for n in numbers])
    write_lines(folder / references, [f"synpic{n}|finding {n}|a lesion" for n in numbers])
    for number in numbers:
        picture(folder / images / f"synpic{number}.jpg", number)


def training_2020(folder: pathlib.Path) -> None:
    """The part that 2021 gives out again."""
    write_pairs(
        folder / "VQAMed2020-VQAnswering-TrainingSet",
        "VQAnswering_2020_Train_QA_pairs.txt",
        "VQAnswering_2020_Train_images",
        (11, 12),
    )
    write_pairs(
        folder / "VQAMed2020-VQAnswering-ValidationSet",
        "VQAnswering_2020_Val_QA_Pairs.txt",
        "VQAnswering_2020_Val_images",
        (13,),
    )


def vqa_med_2020(folder: pathlib.Path) -> None:
    """Two training images, one of validation, one of test."""
    training_2020(folder)
    write_test_pairs(
        folder / "VQA-TestSet-ReferenceAnswers-VQAMed2020-Task1",
        "VQAMed2020-Task1-VQAnswering-Test-Questions.txt",
        "VQAMed2020-Task1-VQAnswering-Test-ReferenceAnswers.txt",
        "Task1-2020-VQAnswering-Test-Images",
        (14,),
    )


def vqa_med_2021(folder: pathlib.Path) -> None:
    """The training and validation set of 2020, and new ones of validation and test."""
    write_pairs(
        folder / "VQA-Med-2021-Tasks-1-2-NewValidationSets",
        "VQA-Med-2021-VQAnswering-Task1-New-ValidationSet.txt",
        "ImageCLEF-2021-VQA-Med-New-Validation-Images",
        (15, 16),
    )
    write_test_pairs(
        folder / "Task1-VQA-2021-TestSet-w-GroundTruth",
        "Task1-VQA-2021-TestSet-Questions.txt",
        "Task1-VQA-2021-TestSet-ReferenceAnswers.txt",
        "VQA-500-Images",
        (17,),
    )
    training_2020(folder)


def both_splits(folder: str) -> list[str]:
    """Image paths of which the hash throws two into training and two into test."""
    paths = [f"{folder}/{number}.png" for number in range(40)]
    test = [path for path in paths if Draws(path).fraction("split") >= TRAIN_SHARE]
    return [*[path for path in paths if path not in test][:2], *test[:2]]


def omni_med_vqa(folder: pathlib.Path) -> None:
    """Two source datasets per modality; one entry names its modality as one of the release does."""
    released = (
        *("CT(Computed Tomography)", "Dermoscopy", "Fundus Photography", "Microscopy Images"),
        *("MR (Mag-netic Resonance Imaging)", "OCT (Optical Coherence Tomography"),
        *("ultrasound", "X-Ray"),
    )
    root = folder / "OmniMedVQA"
    for place, modality in enumerate(released):
        name, entries = f"Set {place}", []
        for number, image in enumerate(both_splits(f"Images/Set {place}")):
            key = "modality" if (place, number) == (0, 0) else "modality_type"
            entries.append(
                {"dataset": name, "question_id": f"set_{place}_{number:04d}"}
                | {"question_type": "Disease Diagnosis", "question": "Is this abnormal?"}
                | {"gt_answer": "Yes." if number % 2 else "No, it is normal."}
                | {"image_path": image, "option_A": "Yes.", key: modality}
            )
            picture(root / image, 4 * place + number)
        write_json(root / "QA_information" / "Open-access" / f"{name}.json", entries)


def jpeg(red: int, green: int = 90) -> bytes:
    """A picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (red, green, 7)).save(file, format="JPEG")
    return file.getvalue()


def path_vqa(folder: pathlib.Path) -> None:
    """Three Parquet files, the first part of two."""
    parts = {"train": 2, "validation": 1, "test": 1}
    for place, (split, count) in enumerate(parts.items()):
        for part in range(count):
            rows = {
                "image": [{"bytes": jpeg(40 * place, 90 * part), "path": None}] * 2,
                "question": ["What is present?", "is a nucleus shown?"],
                "answer": ["Cardiovascular", "yes"],
            }
            name = f"{split}-{part:05d}-of-{count:05d}-0123456789abcdef.parquet"
            (folder / "data").mkdir(parents=True, exist_ok=True)
            parquet.write_table(pyarrow.table(rows), folder / "data" / name)


def write_csv(path: pathlib.Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def pmc_vqa(folder: pathlib.Path) -> None:
    """Both versions, with the letters before the choices as each writes them."""
    choices = ("Focal uptake", "Diffuse uptake", "No uptake", "Cannot be told")
    tables = {"train": (1, 2), "test": (3, 4), "test_clean": (3,)}
    for name, numbers in tables.items():
        rows: list[dict[str, object]] = []
        second: list[dict[str, object]] = []
        for number in numbers:
            figure, panel = f"PMC10{number}_F1.jpg", f"PMC82{number}_Fig2_1.jpg"
            letter, asked = "ABCD"[number - 1], "What is the uptake pattern?"
            given = dict(zip("ABCD", choices, strict=True))
            first = {"Figure_path": figure, "Question": asked, "Answer": given[letter]}
            shown = {f"Choice {each}": f"{each}:{text}" for each, text in given.items()}
            rows.append(first | shown | {"Answer_label": letter})
            shown = {f"Choice {each}": f" {each}: {text} " for each, text in given.items()}
            said = {"Caption": "A caption, of\ntwo lines.", "Question": f" {asked} "}
            second.append(
                {"index": 7 * number, "Figure_path": panel} | said | shown | {"Answer": letter}
            )
            picture(folder / "images" / figure, number)
            picture(folder / "images_2" / "figures" / panel, 10 + number)
        write_csv(folder / f"{name}.csv", rows)
        if name != "test_clean":
            write_csv(folder / f"{name}_2.csv", [row | {"split": name} for row in second])


def kvasir_ids() -> list[str]:
    """Image identifiers of which the hash throws two into training and two into test."""
    names = [f"cla820gl{number:02d}" for number in range(60)]
    test = [name for name in names if Draws(name).fraction("split") >= 1 - TEST_SHARE]
    return [*[name for name in names if name not in test][:2], *test[:2]]


def kvasir_rows() -> list[dict[str, object]]:
    """Questions about four images, and about a fifth that is the first under another name."""
    asked = (
        ("Is there text?", "yes"),
        ("What color is the abnormality? If more than one separate with ;", "red; pink"),
    )
    names = kvasir_ids()
    sources = ("Ulcerative Colitis", "Polyps")
    return [
        {"source": sources[place % 2], "question": question, "answer": answer, "img_id": name}
        | {"image": {"bytes": jpeg(30 * (place % 4)), "path": f"{name}.jpg"}}
        for place, name in enumerate([*names, f"copy_of_{names[0]}"])
        for question, answer in asked
    ]


def kvasir_vqa(folder: pathlib.Path) -> None:
    """Two Parquet files."""
    rows = kvasir_rows()
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for part, some in enumerate((rows[:4], rows[4:])):
        table = pyarrow.Table.from_pylist(some)
        parquet.write_table(table, folder / "data" / f"{part:05d}.parquet")


REPORT = """<?xml version="1.0" encoding="utf-8"?>
<eCitation>
  <MedlineCitation><Article><Abstract>
    <AbstractText Label="COMPARISON">None.</AbstractText>
    <AbstractText Label="INDICATION">Cough {number}.</AbstractText>
    <AbstractText Label="FINDINGS">The heart
      is seen.</AbstractText>
    <AbstractText Label="IMPRESSION"/>
  </Abstract></Article></MedlineCitation>
  <MeSH><major>{term}</major><automatic>heart</automatic></MeSH>
  {image}
</eCitation>"""


def open_i(folder: pathlib.Path) -> None:
    """Thirty reports, the last without an image."""
    terms = ("normal", "Cardiomegaly/mild", "Opacity/lung/base/left", "Spine/degenerative")
    for number in range(30):
        image = f"CXR{number}_IM-0001-1001"
        link = f'<parentImage id="{image}"/>' if number < 29 else ""
        text = REPORT.format(number=number, term=terms[number % 4], image=link)
        write_lines(folder / "NLMCXR_reports" / "ecgen-radiology" / f"{number}.xml", [text])
        if link:
            picture(folder / "NLMCXR_png" / f"{image}.png", number, "L")


def mimic_cxr(folder: pathlib.Path) -> None:
    """Frontal and lateral images of seventeen studies, and of one without labels, the fourth."""
    studies = [f"500000{number:02d}" for number in range(1, 19)]
    columns = [name.title() for name in FINDINGS if name != "other"]
    certain = {"50000001": {"Cardiomegaly": "1.0", "Edema": "-1.0"}, "50000002": {}}
    certain |= {study: {"Edema": "1.0", "Pneumonia": "1.0"} for study in studies[4::2]}
    labels = [",".join(["subject_id", "study_id", *columns])]
    splits = ["dicom_id,study_id,subject_id,split"]
    views = ["dicom_id,subject_id,study_id,ViewPosition"]
    released = ("train", "validate", "test", "train", *("train",) * 6, *("validate", "test") * 4)
    for place, study in enumerate(studies):
        subject = f"100000{place:02d}"
        path = folder / "files" / "p10" / f"p{subject}" / f"s{study}"
        for view, image in (("PA", f"front{place}"), ("LATERAL", f"side{place}")):
            picture(path / f"{image}.jpg", place, "L")
            splits.append(f"{image},{study},{subject},{released[place]}")
            views.append(f"{image},{subject},{study},{view}")
        write_lines(path.with_suffix(".txt"), ["  FINDINGS: Heart is", " large.", " IMPRESSION: ."])
        values = certain.get(study, {"No Finding": "1.0", "Fracture": "0.0"})
        if study != "50000004":
            labels.append(",".join([subject, study, *(values.get(name, "") for name in columns)]))
    for name, lines in (("chexpert", labels), ("split", splits), ("metadata", views)):
        text = "".join(f"{line}\n" for line in lines).encode()
        (folder / f"mimic-cxr-2.0.0-{name}.csv.gz").write_bytes(gzip.compress(text, mtime=0))


def upstream_images(hospital: Hospital) -> list[str]:
    """Image paths of which the hash throws three into training and two into test."""
    paths = [f"images/other_{number:02d}.jpg" for number in range(60)]
    owners = {path: f"{hospital.name}/{path.removeprefix('images/')}" for path in paths}
    test = [path for path in paths if Draws(owners[path]).fraction("split") < UPSTREAM_TEST_SHARE]
    return [*[path for path in paths if path not in test][:3], *test[:2]]


def modality_images(folder: pathlib.Path) -> None:
    """Eight images of each hospital in three splits, and five others of its source."""
    for hospital in HOSPITALS.values():
        labels = list(hospital.labels)
        named = ("train", "train", "train", "train", "val", "val", "test", "test")
        own = {f"images/{number}.jpg": split for number, split in enumerate(named)}
        parts = {HELD_OUT: own}
        if hospital.has_upstream:
            parts[UPSTREAM] = dict.fromkeys(upstream_images(hospital), "train")
        for part, split_of in parts.items():
            lines = ["image,label,split,patient"]
            for number, (image, split) in enumerate(split_of.items()):
                lines.append(f"{image},{labels[number % len(labels)]},{split},")
                picture(folder / part / hospital.folder / image, number, "L")
            write_lines(folder / part / hospital.folder / LABELS, lines)


WRITERS: dict[str, Callable[[pathlib.Path], None]] = {
    writer.__name__: writer
    for writer in (
        *(kvasir_vqa, medvqa_fl, mimic_cxr, modality_images, omni_med_vqa, open_i),
        *(path_vqa, pmc_vqa, slake, vqa_med_2019, vqa_med_2020, vqa_med_2021, vqa_rad),
    )
}

if __name__ == "__main__":
    for dataset, write in WRITERS.items():
        write(DATASETS / dataset / "dummy_data")
