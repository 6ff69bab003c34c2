"""Rows and images that no dataset should hold, planted into copies of the dummy data."""

import csv
import functools
import gzip
import io
import json
import os
import pathlib
import re
import struct
import zlib
from collections.abc import Callable

import pyarrow
from PIL import Image
from pyarrow import parquet

from tests.tfds_medvqa.dummy_files import picture
from tfds_medvqa.common.rows import Reason

JSON = {
    "slake": ("Slake1.0/train.json", "img_name", "qid", "answer", "Slake1.0/imgs"),
    "vqa_rad": (
        "VQA_RAD Dataset Public.json",
        "image_name",
        "qid",
        "answer",
        "VQA_RAD Image Folder",
    ),
    "omni_med_vqa": (
        *("OmniMedVQA/QA_information/Open-access/Set 1.json", "image_path", "question_id"),
        *("gt_answer", "OmniMedVQA"),
    ),
}
"""File, columns of image, identifier and answer, and the folder of the images."""

_2020 = "VQAMed2020-VQAnswering-TrainingSet"
PIPED = {
    "vqa_med_2019": (
        "ImageClef-2019-VQA-Med-Training/QAPairsByCategory/C1_Modality_train.txt",
        "ImageClef-2019-VQA-Med-Training/Train_images",
    ),
    **dict.fromkeys(
        ("vqa_med_2020", "vqa_med_2021"),
        (
            f"{_2020}/VQAnswering_2020_Train_QA_pairs.txt",
            f"{_2020}/VQAnswering_2020_Train_images",
        ),
    ),
}
"""File and the folder of the images."""

_CT = "modalities/ct_iqothnccd"
CSV = {
    "pmc_vqa": ("train.csv", "Figure_path", "Question", "Answer", "images"),
    "modality_images": (f"{_CT}/labels.csv", "image", "patient", "label", _CT),
}
"""File, columns of image, question and answer, and the folder of the images."""

MADE_QUESTIONS = ("modality_images",)
"""Datasets whose rows hold no question; another text is in its place in `CSV`."""

PARQUET = {"path_vqa": "train-00000-*.parquet", "kvasir_vqa": "00000.parquet"}
"""File whose rows hold their images."""

CONFIGS = {
    "slake": "english",
    "vqa_rad": "released",
    "omni_med_vqa": "all",
    "vqa_med_2019": "challenge",
    "vqa_med_2020": "challenge",
    "vqa_med_2021": "challenge",
    "open_i": "reports",
    "mimic_cxr": "reports",
    "path_vqa": "released",
    "modality_images": "chest_ct",
    "pmc_vqa": "version_1",
    "kvasir_vqa": "all",
}
NAMED = tuple(dataset for dataset in CONFIGS if dataset not in PARQUET)
"""Datasets whose rows name the files of their images."""
TEXTS = tuple(each for each in (*JSON, *PIPED, *CSV, *PARQUET) if each not in MADE_QUESTIONS)
"""Datasets whose rows hold a question and an answer."""

NESTED: object = "x"
for _ in range(60):
    NESTED = [NESTED]

Plant = Callable[[str, pathlib.Path], None]


def set_field(dataset: str, manual: pathlib.Path, kind: str, value: object) -> None:
    """Gives the first row another question, answer or image."""
    if dataset in JSON:
        file, name, _, answer, _ = JSON[dataset]
        entries = json.loads((manual / file).read_text(encoding="utf-8"))
        entries[0][{"image": name, "answer": answer}.get(kind, kind)] = value
        (manual / file).write_text(json.dumps(entries), encoding="utf-8")
    elif dataset in PIPED:
        path = manual / PIPED[dataset][0]
        first, *others = path.read_text(encoding="utf-8").split("\n")
        fields = dict(zip(("image", "question", "answer"), first.split("|"), strict=True))
        line = "|".join((fields | {kind: value}).values())
        path.write_bytes("\n".join([line, *others]).encode("utf-8", "surrogatepass"))
    elif dataset in CSV:
        set_csv(dataset, manual, kind, str(value))
    elif dataset == "open_i":
        path = manual / "NLMCXR_reports" / "ecgen-radiology" / "0.xml"
        old = {"image": '(?<=parentImage id=")[^"]*', "question": "The heart"}[kind]
        content = re.sub(old, str(value), path.read_text(encoding="utf-8"))
        path.write_bytes(content.encode("utf-8", "surrogatepass"))
    elif dataset == "mimic_cxr" and kind == "image":
        for path in manual.glob("*.csv.gz"):
            text = gzip.decompress(path.read_bytes()).decode()
            path.write_bytes(gzip.compress(re.sub(r"\bfront0\b", str(value), text).encode()))
    elif dataset == "mimic_cxr":
        report = next(manual.rglob("s50000001.txt"))
        report.write_bytes(f"FINDINGS: {value}".encode("utf-8", "surrogatepass"))
    else:
        set_parquet(dataset, manual, kind, value)


def set_csv(dataset: str, manual: pathlib.Path, kind: str, value: str) -> None:
    """Gives the first row of a CSV file another value."""
    file, *names, _ = CSV[dataset]
    column = dict(zip(("image", "question", "answer"), names, strict=True))[kind]
    with (manual / file).open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    rows[0][column] = value
    written = io.StringIO()
    writer = csv.DictWriter(written, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    (manual / file).write_bytes(written.getvalue().encode("utf-8", "surrogatepass"))


def set_parquet(dataset: str, manual: pathlib.Path, kind: str, value: object) -> None:
    """Gives the first row of a Parquet file another value, of text that may be no UTF-8."""
    path = next(manual.rglob(PARQUET[dataset]))
    columns = parquet.read_table(path).to_pydict()
    columns[kind][0] = {"bytes": value, "path": None} if kind == "image" else value
    if isinstance(value, str):
        raw = [each.encode("utf-8", "surrogatepass") for each in columns[kind]]
        array = pyarrow.array(raw, pyarrow.binary())
        columns[kind] = pyarrow.StringArray.from_buffers(len(raw), *array.buffers()[1:])
    parquet.write_table(pyarrow.table(columns), path)


def set_image(dataset: str, manual: pathlib.Path, content: bytes) -> None:
    """Gives the first row an image of its own."""
    if dataset in PARQUET:
        set_parquet(dataset, manual, "image", content)
    else:
        own_image(dataset, manual).write_bytes(content)


def own_image(dataset: str, manual: pathlib.Path) -> pathlib.Path:
    """Lets the first row name an image that no other row names, and returns its path."""
    if dataset == "mimic_cxr":
        return next(manual.rglob("front0.jpg"))
    set_field(dataset, manual, "image", f"own{suffix_of(dataset)}")
    if dataset in JSON:
        return manual / JSON[dataset][-1] / "own.png"
    if dataset in PIPED:
        return manual / PIPED[dataset][1] / "own.jpg"
    if dataset in CSV:
        return manual / CSV[dataset][-1] / "own.jpg"
    return manual / "NLMCXR_png" / "own.png"


def field(kind: str, value: object) -> Plant:
    return lambda dataset, manual: set_field(dataset, manual, kind, value)


def image(make: Callable[[], bytes]) -> Plant:
    return lambda dataset, manual: set_image(dataset, manual, make())


def link(dataset: str, manual: pathlib.Path) -> None:
    """Replaces the image by a link to a good one outside of the folder."""
    outside = manual.parent / "outside.png"
    picture(outside, 1)
    path = own_image(dataset, manual)
    path.unlink(missing_ok=True)
    os.symlink(outside, path)


def absolute(dataset: str, manual: pathlib.Path) -> None:
    """Lets a row name a good image outside of the folder."""
    for suffix in (".png", ".jpg"):
        picture(manual.parent / f"outside{suffix}", 1)
    set_field(dataset, manual, "image", f"{manual.parent}/outside{suffix_of(dataset)}")


def parent(dataset: str, manual: pathlib.Path) -> None:
    """Lets a row name a good image beside the folder of its dataset's images."""
    beside = own_image(dataset, manual).parent.parent
    for suffix in (".png", ".jpg"):
        picture(beside / f"outside{suffix}", 1)
    set_field(dataset, manual, "image", f"../outside{suffix_of(dataset)}")


def suffix_of(dataset: str) -> str:
    """The suffix that rows of a dataset write after the name of an image."""
    return ".png" if dataset in JSON else ".jpg" if dataset in CSV else ""


def repeat(dataset: str, manual: pathlib.Path) -> None:
    """Gives two rows one identifier."""
    if dataset in JSON:
        path, key = manual / JSON[dataset][0], JSON[dataset][2]
        entries = json.loads(path.read_text(encoding="utf-8"))
        entries[2][key] = entries[0][key]
        path.write_text(json.dumps(entries), encoding="utf-8")
    elif dataset == "open_i":
        set_field(dataset, manual, "image", "CXR5_IM-0001-1001")
    elif dataset == "mimic_cxr":
        (path,) = manual.glob("*split.csv.gz")
        lines = gzip.decompress(path.read_bytes()).decode().split("\n")
        path.write_bytes(gzip.compress("\n".join([*lines[:2], lines[1], *lines[2:]]).encode()))
    else:
        path = next(manual.rglob("*ReferenceAnswers.txt"))
        line = path.read_text(encoding="utf-8").split("|")[0] + "|another answer\n"
        path.write_text(path.read_text(encoding="utf-8") + line, encoding="utf-8")


@functools.cache
def png(width: int, height: int) -> bytes:
    """A black PNG of any size; its pixels are compressed to almost nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    compressor = zlib.compressobj(1)
    line, rows = bytes(1 + (width + 7) // 8), []
    for _ in range(height):
        rows.append(compressor.compress(line))
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = b"".join(rows) + compressor.flush()
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@functools.cache
def truncated() -> bytes:
    """Half of a JPEG file."""
    file = io.BytesIO()
    Image.effect_noise((64, 64), 40).convert("RGB").save(file, "JPEG")
    return file.getvalue()[: len(file.getvalue()) // 2]


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
HTML = b"<!DOCTYPE html>\n<html><body>Sign in</body></html>"

ATTACKS: dict[str, tuple[Plant, Reason, tuple[str, ...]]] = {
    "parent folder": (parent, Reason.OUTSIDE_FILE, NAMED),
    "absolute path": (
        absolute,
        Reason.OUTSIDE_FILE,
        tuple(each for each in NAMED if each != "mimic_cxr"),
    ),
    "link": (link, Reason.OUTSIDE_FILE, NAMED),
    "absent image": (field("image", "absent"), Reason.ABSENT_FILE, NAMED),
    "number": (field("question", 5), Reason.NO_TEXT, tuple(JSON)),
    "null": (field("question", None), Reason.NO_TEXT, (*JSON, *PARQUET)),
    "deep nesting": (field("question", NESTED), Reason.NO_TEXT, tuple(JSON)),
    "surrogate": (
        field("question", "half a pair: \ud83d"),
        Reason.NO_TEXT,
        (*JSON, *PIPED, *CSV, "mimic_cxr"),
    ),
    "surrogate in the file": (
        field("question", "half a pair: \ud83d"),
        Reason.BROKEN,
        ("open_i", *PARQUET),
    ),
    "empty question": (field("question", " "), Reason.NO_TEXT, TEXTS),
    "empty answer": (field("answer", " ."), Reason.NO_ANSWER, TEXTS),
    "nan": (field("answer", "NaN"), Reason.NO_ANSWER, TEXTS),
    "number that is none": (field("answer", float("nan")), Reason.NO_ANSWER, tuple(JSON)),
    "null answer": (field("answer", None), Reason.NO_ANSWER, (*JSON, *PARQUET)),
    "repeated id": (
        repeat,
        Reason.REPEATED_ID,
        tuple(each for each in NAMED if each not in ("vqa_med_2019", *CSV)),
    ),
    "huge image": (image(lambda: png(30_000, 30_000)), Reason.LARGE_IMAGE, tuple(CONFIGS)),
    "large image": (image(lambda: png(13_000, 13_000)), Reason.LARGE_IMAGE, tuple(CONFIGS)),
    "truncated image": (image(truncated), Reason.UNREADABLE_IMAGE, tuple(CONFIGS)),
    "empty image": (image(lambda: b""), Reason.UNREADABLE_IMAGE, tuple(CONFIGS)),
    "Git LFS pointer": (image(lambda: LFS), Reason.UNREADABLE_IMAGE, tuple(CONFIGS)),
    "web page": (image(lambda: HTML), Reason.UNREADABLE_IMAGE, tuple(CONFIGS)),
}
"""Name to what it plants, the reason it is refused for, and the datasets that can hold it."""
