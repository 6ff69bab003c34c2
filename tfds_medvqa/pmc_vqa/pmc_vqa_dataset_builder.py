"""Builder of PMC-VQA: open questions, or questions with their four choices; either version.

It reads the files of xmcmic/PMC-VQA on Hugging Face: the layout is that of its card of July 2024,
and, for the columns of version 2 and the folder of its images, that of published code which reads
them. The files themselves were not at hand.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from tfds_medvqa.common.features import question_example
from tfds_medvqa.common.manual_builder import ManualBuilder
from tfds_medvqa.common.rows import ENGLISH, Reason, Row, RowError, shown
from tfds_medvqa.common.source_folder import Origin, SourceFolder
from tfds_medvqa.common.tables import table_rows

LETTERS = ("A", "B", "C", "D")
COLUMNS = ("Figure_path", "Question", "Answer", *(f"Choice {letter}" for letter in LETTERS))
LABEL = "Answer_label"
"""Column of the right choice's letter in version 1; in version 2 it is Answer."""
PREFIX = re.compile(r"\s*[A-D]\s*:\s*")
"""What precedes the text of a choice, as in " A: Green"."""


@dataclasses.dataclass(eq=False)
class PmcConfig(tfds.core.BuilderConfig):
    """A version, its test set, and the form of its questions.

    Attributes:
      tables: Split to the name of its table.
      has_letters: True if Answer is the letter of the right choice, False if it is its text.
      with_choices: True to show the choices in the question and to answer with a letter, False to
        ask the question alone and to answer with a text.
    """

    tables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    has_letters: bool = False
    with_choices: bool = False


def make_configs() -> list[PmcConfig]:
    """Returns the configs: three test sets, each asked openly and with choices."""
    sets = (
        ("version_1", "all figures", {"train": "train.csv", "test": "test.csv"}),
        ("version_1_clean", "a checked test set", {"train": "train.csv", "test": "test_clean.csv"}),
        ("version_2", "single panels of figures", {"train": "train_2.csv", "test": "test_2.csv"}),
    )
    return [
        PmcConfig(
            name=f"{name}{suffix}",
            description=f"Version {name.split('_')[1]}, {what}; {form}.",
            tables=tables,
            has_letters=name == "version_2",
            with_choices=bool(suffix),
        )
        for name, what, tables in sets
        for suffix, form in (("", "answers are texts"), ("_choices", "answers are letters"))
    ]


class Builder(ManualBuilder):
    """Reads a table per split, and the figures that its rows name."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    ORIGIN = Origin("PMC-VQA", "https://huggingface.co/datasets/xmcmic/PMC-VQA", "CC BY-SA")
    BUILDER_CONFIGS = make_configs()

    def splits(self, files: SourceFolder) -> Mapping[str, Iterable[dict[str, Any]]]:
        """Returns the released splits."""
        paths = {split: files.file(name) for split, name in self.builder_config.tables.items()}
        folders = {split: find_figures(files, path) for split, path in paths.items()}
        return {
            split: self._examples(files, split, path, folders[split])
            for split, path in paths.items()
        }

    def _examples(
        self, files: SourceFolder, split: str, path: pathlib.Path, folder: pathlib.Path
    ) -> Iterator[dict[str, Any]]:
        def make(numbered: tuple[int, Row]) -> dict[str, Any]:
            number, row = numbered
            name = row.path("Figure_path")
            question, answer = self._texts(row)
            return question_example(
                image=files.image(row, name, folder),
                image_id=name,
                example_id=f"pmc_vqa/{path.name.partition('.')[0]}/{number}",
                question=question,
                answer=answer,
                answer_type="closed" if self.builder_config.with_choices else None,
                question_type=row.text("Question").split(maxsplit=1)[0].lower(),
                source="pmc_vqa",
                language=ENGLISH,
            )

        return files.each(enumerate(table_rows(path, COLUMNS)), make)

    def _texts(self, row: Row) -> tuple[str, str]:
        """Returns question and answer in the form of the config."""
        config, question = self.builder_config, row.text("Question")
        answer = row.answer("Answer")
        if config.with_choices:
            letter = read_letter(row, "Answer" if config.has_letters else LABEL)
            choices = (f"{each}: {read_choice(row, each)}" for each in LETTERS)
            return f"{question} {' '.join(choices)}", letter
        if config.has_letters:
            return question, read_choice(row, read_letter(row, "Answer"))
        return question, PREFIX.sub("", answer, count=1) if PREFIX.match(answer) else answer


def read_letter(row: Row, column: str) -> str:
    """Returns the letter of the right choice.

    Raises:
      RowError: if it is none of `LETTERS`.
    """
    letter = row.text(column).upper()
    if letter not in LETTERS:
        told, allowed = shown(row.text(column)), ", ".join(LETTERS)
        raise row.error(Reason.UNKNOWN_VALUE, f"has {column!r} {told}, expected {allowed}")
    return letter


def read_choice(row: Row, letter: str) -> str:
    """Returns the text of a choice, without the letter before it.

    Raises:
      RowError: if nothing is left.
    """
    column = f"Choice {letter}"
    text = row.text(column)
    prefix = PREFIX.match(text)
    text = text[prefix.end() :] if prefix else text
    if not text:
        raise row.error(Reason.NO_TEXT, f"has an empty {column!r}")
    return text


def find_figures(files: SourceFolder, path: pathlib.Path) -> pathlib.Path:
    """Finds the folder that holds the figures of a table, whatever an archive unpacks into.

    Args:
      files: Source folder of the user.
      path: Path of the table.

    Raises:
      BuildError: if no folder holds any of them; names the first.
    """
    first = ""
    for row in table_rows(path, COLUMNS):
        try:
            name = row.path("Figure_path")
        except RowError:  # told when its example is made
            continue
        if folder := files.folder_of(name):
            return folder
        first = first or name
    raise files.missing(first or "any figure")
