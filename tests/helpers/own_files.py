"""Made-up folders of a user's own: pictures and a table of questions."""

import csv
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

COLUMNS = ("image", "question", "answer", "hospital", "patient")
HOSPITALS = ("Oslo", "Bern")


def write_picture(path: pathlib.Path, number: int) -> None:
    """A picture that tells its number, written where its folder may not be yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def make_rows(pictures: int = 10, hospitals: Sequence[str] = HOSPITALS) -> list[dict[str, Any]]:
    """Two questions about each picture of some hospitals; a patient has two pictures."""
    return [
        {
            "image": f"images/{hospital}_{number}.png",
            "question": question,
            "answer": ("yes", "no")[(number // 2) % 2] if question.startswith("is") else "left",
            "hospital": hospital,
            "patient": f"p{number // 2}",
        }
        for hospital in hospitals
        for number in range(pictures)
        for question in ("is there an effusion?", "which side?")
    ]


def write_pictures(folder: pathlib.Path, rows: Iterable[Mapping[str, Any]], first: int = 0) -> None:
    """The pictures that rows name, all different; those of another folder from `first` on."""
    for number, name in enumerate(sorted({row["image"] for row in rows}), start=first):
        write_picture(folder / name, number)


def write_csv(
    path: pathlib.Path,
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str] = COLUMNS,
    *,
    encoding: str = "utf-8",
    delimiter: str = ",",
) -> None:
    """Rows as a table; columns that are not named are left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def write_folder(
    folder: pathlib.Path,
    pictures: int = 10,
    hospitals: Sequence[str] = HOSPITALS,
    first: int = 0,
) -> pathlib.Path:
    """A whole folder; returns it."""
    rows = make_rows(pictures, hospitals)
    write_pictures(folder, rows, first)
    write_csv(folder / "questions.csv", rows)
    return folder
