"""Options of reading a user's own tables."""

import codecs
import dataclasses
import types
from collections.abc import Mapping

from tfds_medvqa.common.errors import BuildError

COLUMNS: Mapping[str, tuple[str, ...]] = types.MappingProxyType(
    {
        "image": ("image", "file_name", "image_path"),
        "question": ("question",),
        "answer": ("answer", "answers", "label", "class"),
        "findings": ("findings", "labels"),
        "report": ("report",),
        "hospital": ("hospital", "client", "site"),
        "patient": ("patient", "patient_id"),
        "split": ("split",),
        "language": ("language", "lang", "q_lang"),
        "question_type": ("question_type",),
        "question_id": ("question_id", "id"),
        "modality": ("modality",),
        "anatomy": ("anatomy",),
    }
)
"""What a column holds, and the names by which it is found, whatever their case."""

PREFIX = "files:"
"""Beginning of the name of a dataset of a user's own files; a path follows."""

QUESTION = "what does this image show?"


@dataclasses.dataclass(frozen=True)
class TableOptions:
    """Options of reading tables of a user's own.

    Attributes:
      columns: Maps what a column holds, a key of `COLUMNS`, to its name in the tables.
      encoding: Encoding of the text; a byte order mark of UTF-8 is ignored.
      answer_separator: Text between several answers or findings in one cell; "" if each has one.
      question: Question about images of tables that have classes or findings but no questions.
      test_share: Share of the patients, or of the images where none are named, that become test
        examples if the tables name no split.
      split_seed: Seed of that split.
      closed_answers: Answers of closed questions beside the yes and no of their language.
    """

    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    encoding: str = "utf-8"
    answer_separator: str = ""
    question: str = QUESTION
    test_share: float = 0.2
    split_seed: int = 0
    closed_answers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Validates the options.

        Raises:
          BuildError: for an impossible value.
        """
        unknown = sorted(self.columns.keys() - COLUMNS.keys())
        if unknown:
            raise BuildError(f"columns has {unknown[0]!r}; choose from {', '.join(COLUMNS)}")
        try:
            codecs.lookup(self.encoding)
        except (LookupError, ValueError) as error:
            raise BuildError(
                f"encoding is {self.encoding!r}, which Python does not know; common ones are "
                "utf-8, utf-16 and cp1252"
            ) from error
        if not 0 < self.test_share < 1:
            raise BuildError(f"test_share is {self.test_share}, must be between 0 and 1")
        if not self.question.strip():
            raise BuildError("question is empty")


DEFAULT_TABLES = TableOptions()
