"""What one row of a user's table says about an image."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping

from tfds_medvqa.common import answers
from tfds_medvqa.common.file_names import as_text
from tfds_medvqa.common.findings import SEPARATOR
from tfds_medvqa.common.rows import UNKNOWN, Reason, Row, check_answer, shown
from tfds_medvqa.common.source_folder import SourceFolder
from tfds_medvqa.common.source_images import SourceImage
from tfds_medvqa.common.table_options import TableOptions
from tfds_medvqa.files.layout import SPLITS, SourceTable
from tfds_medvqa.files.splitting import Group
from tfds_medvqa.files.table_files import is_given


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row.

    Attributes:
      image: The image.
      image_id: Path of the image from the user's folder; a hash for one within a table.
      example_id: Identifier of the row, unique over the dataset unless the tables repeat it.
      group: Hospital, and patient or image: what stays together in a split.
      split: Split that the row or its table says; None if they say none.
      question: Question, or report.
      answers: Right answers, the first of which is the reference in tests; none for findings.
      findings: Findings of the image; None for a question.
      texts: Further features by name.
    """

    image: SourceImage
    image_id: str
    example_id: str
    group: Group
    split: str | None
    question: str
    answers: tuple[str, ...]
    findings: tuple[str, ...] | None
    texts: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class EntryReader:
    """Reads rows of one table.

    Attributes:
      root: The user's folder.
      table: The table.
      options: Options of reading it.
    """

    root: pathlib.Path
    table: SourceTable
    options: TableOptions

    def read(self, number: int, row: Row, files: SourceFolder) -> Entry:
        """Reads a row.

        Args:
          number: Number of the row, from 0.
          row: The row, by what its columns hold.
          files: The user's folder.

        Raises:
          RowError: if it cannot be used.
        """
        image, image_id = self._image(row, files)
        given = row.text("question_id") if self._is_given(row, "question_id") else str(number)
        hospital = self._hospital(row)
        patient = self._identifier(row, "patient") or image_id
        report = self._optional(row, "report")
        is_finding = row.has("findings")
        question = self._optional(row, "question") if row.has("question") else self.options.question
        if not question:
            raise row.error(Reason.NO_TEXT, "has an empty 'question'")
        return Entry(
            image=image,
            image_id=image_id,
            example_id=f"{self.table.name}/{given}" if self.table.name else given,
            group=(hospital, patient),
            split=self._split(row),
            question=(report or question) if is_finding else question,
            answers=() if is_finding else self._answers(row),
            findings=self._findings(row) if is_finding else None,
            texts={
                name: self._optional(row, name) or UNKNOWN
                for name in ("question_type", "modality", "anatomy", "language")
            }
            | {"patient": self._identifier(row, "patient") or UNKNOWN},
        )

    def _image(self, row: Row, files: SourceFolder) -> tuple[SourceImage, str]:
        value = row.value("image")
        content = value
        if isinstance(value, Mapping) and value.keys() <= {"bytes", "path"}:  # as datasets store it
            content = value.get("bytes") or value.get("path")
        if isinstance(content, bytes):
            name = hashlib.blake2b(content, digest_size=16).hexdigest()
            return SourceImage(content, row.where), name
        row = dataclasses.replace(row, fields={**row.fields, "image": content})
        folder = self.table.path.parent
        image = files.image(row, row.path("image"), folder)
        path = image.content
        assert isinstance(path, pathlib.Path)
        return image, as_text(path.relative_to(self.root).as_posix())

    def _hospital(self, row: Row) -> str:
        named = self._identifier(row, "hospital")
        if named:
            return named
        if row.has("hospital"):
            raise row.error(Reason.NO_TEXT, "has an empty 'hospital'")
        return self.table.hospital or as_text(self.root.name)

    def _split(self, row: Row) -> str | None:
        if not row.has("split"):
            return self.table.split
        name = self._optional(row, "split")
        if name.lower() not in SPLITS:
            known = ", ".join(SPLITS)
            raise row.error(Reason.UNKNOWN_VALUE, f"has split {shown(name)}, expected {known}")
        return SPLITS[name.lower()]

    def _answers(self, row: Row) -> tuple[str, ...]:
        """Returns the distinct answers of a row in their order; several are normalised."""
        value = row.value("answer")
        if not isinstance(value, list):
            separator = self.options.answer_separator
            if not separator or not isinstance(value, str):
                return (row.answer("answer"),)
            value = value.split(separator)
        if not value:
            raise row.error(Reason.NO_ANSWER, "has no answer")
        rows = [dataclasses.replace(row, fields={"answer": each}) for each in value]
        return tuple(dict.fromkeys(answers.normalise(each.answer("answer")) for each in rows))

    def _findings(self, row: Row) -> tuple[str, ...]:
        value = row.value("findings")
        if value is None or isinstance(value, str):
            separator = self.options.answer_separator
            value = (value or "").split(separator) if separator else [value or ""]
        if not isinstance(value, list):
            raise row.error(Reason.NO_TEXT, f"has 'findings' {shown(value)}, expected text")
        names = []
        for each in value:
            name = self._optional(dataclasses.replace(row, fields={"findings": each}), "findings")
            if SEPARATOR in name:
                raise row.error(
                    Reason.UNKNOWN_VALUE,
                    f"has the finding {shown(name)}, in which {SEPARATOR!r} stands; "
                    "answer_separator says what separates several",
                )
            if name:
                check_answer(row.where, "findings", name)
                names.append(" ".join(name.lower().split()))
        return tuple(dict.fromkeys(names))

    def _is_given(self, row: Row, name: str) -> bool:
        return row.has(name) and is_given(row.fields, name)

    def _identifier(self, row: Row, name: str) -> str:
        return row.identifier(name) if self._is_given(row, name) else ""

    def _optional(self, row: Row, name: str) -> str:
        return row.text(name) if self._is_given(row, name) else ""
