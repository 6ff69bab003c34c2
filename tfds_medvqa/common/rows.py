"""Checks on rows: what a row must hold, and what happens to one that does not."""

import collections
import dataclasses
import enum
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from tfds_medvqa.common import answers
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.image_limits import MAX_IMAGE_PIXELS, DecodeOptions
from tfds_medvqa.common.printable import printable
from tfds_medvqa.common.table_options import DEFAULT_TABLES, TableOptions

INVALID_ROWS = ("error", "skip")
UNKNOWN = "unknown"
"""Value of a text feature that the release does not give."""
ENGLISH = "en"
"""Value of `language` of most releases."""
LONGEST_VALUE = 60
"""Characters of a value that are shown in a message."""

Source = TypeVar("Source")
Made = TypeVar("Made")


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """Options of reading source files.

    Attributes:
      invalid_rows: "error" to stop at a row that cannot be used, "skip" to leave it out.
      max_image_pixels: Pixels of an image above which it cannot be used.
      tables: Options of reading a user's own tables.
      image_page: Page of images that have several, from 1; 0 to refuse them.
    """

    invalid_rows: str = "error"
    max_image_pixels: int = MAX_IMAGE_PIXELS
    tables: TableOptions = DEFAULT_TABLES
    image_page: int = 0

    def __post_init__(self) -> None:
        """Validates the options.

        Raises:
          BuildError: for an impossible value.
        """
        if self.invalid_rows not in INVALID_ROWS:
            allowed = ", ".join(INVALID_ROWS)
            raise BuildError(f"invalid_rows is {self.invalid_rows!r}; choose one of {allowed}")
        if self.max_image_pixels < 1:
            raise BuildError(f"max_image_pixels is {self.max_image_pixels}, must be 1 or more")
        if self.image_page < 0:
            raise BuildError(f"image_page is {self.image_page}, must be 0 or more")

    @property
    def decoding(self) -> DecodeOptions:
        """Options of decoding images."""
        return DecodeOptions(self.max_image_pixels, self.image_page)


class Reason(enum.StrEnum):
    """Reasons for which a row cannot be used."""

    BROKEN = "broken row"
    NO_TEXT = "no text"
    NO_ANSWER = "no answer"
    UNKNOWN_VALUE = "unknown value"
    REPEATED_ID = "repeated id"
    ABSENT_FILE = "absent file"
    OUTSIDE_FILE = "file outside of the folder"
    UNREADABLE_IMAGE = "unreadable image"
    LARGE_IMAGE = "too large image"


class RowError(BuildError):
    """A row that cannot be used; the message names the file and the row."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a file, whose fields are checked when they are read.

    Attributes:
      where: File and row, as in "train.json: entry 3".
      fields: Column to value; anything else than a mapping is refused.
      problem: Description of what is wrong with the whole row, as in "has 2 fields, expected 3".
    """

    where: str
    fields: Any
    problem: str = ""

    def error(self, reason: Reason, detail: str) -> RowError:
        """Returns the error of this row; the detail follows the row's name."""
        return RowError(reason, f"{self.where} {detail}")

    def has(self, name: str) -> bool:
        """Returns True if the row has a column."""
        if self.problem:
            raise self.error(Reason.BROKEN, self.problem)
        if not isinstance(self.fields, Mapping):
            raise self.error(Reason.BROKEN, f"is {shown(self.fields)}, expected fields by name")
        return name in self.fields

    def value(self, name: str) -> Any:
        """Returns a field as it is.

        Raises:
          RowError: if it is absent.
        """
        if not self.has(name):
            raise self.error(Reason.BROKEN, f"has no {name!r}")
        return self.fields[name]

    def text(self, name: str) -> str:
        """Returns a text without white space around it.

        Raises:
          RowError: if it is absent, blank or no text.
        """
        text = self._text(name)
        if not text:
            raise self.error(Reason.NO_TEXT, f"has an empty {name!r}")
        return text

    def path(self, name: str) -> str:
        """Returns the name of a file, in which white space counts; see `text`."""
        self.text(name)
        return self.fields[name]

    def word(self, name: str) -> str:
        """Returns a describing text in lower case, "unknown" where it is blank."""
        return self._text(name).lower() or UNKNOWN

    def identifier(self, name: str) -> str:
        """Returns a whole number or a text."""
        value = self.value(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return self.text(name)

    def answer(self, name: str) -> str:
        """Returns an answer, which some releases give as a number.

        Raises:
          RowError: if it is absent, no text or number, or nothing is left of it when normalised.
        """
        value = self.value(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            value = self._text(name, Reason.NO_ANSWER)
        check_answer(self.where, name, value)
        return str(value)

    def _text(self, name: str, reason: Reason = Reason.NO_TEXT) -> str:
        return check_unicode(self.where, name, self.value(name), reason).strip()


def check_unicode(where: str, name: str, value: object, reason: Reason = Reason.NO_TEXT) -> str:
    """Checks that a value is a text that can be stored.

    Args:
      where: File and row.
      name: Name of the column.
      value: Its value.
      reason: Reason of the error.

    Returns:
      The value.

    Raises:
      RowError: if it is no text, or holds half of a surrogate pair.
    """
    if not isinstance(value, str):
        raise RowError(reason, f"{where} has {name!r} {shown(value)}, expected text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = f"character {error.start} is half of a surrogate pair"
        raise RowError(reason, f"{where} has {name!r} {shown(value)}: {half}") from error
    return value


def check_answer(where: str, name: str, answer: object) -> None:
    """Checks that something is left of an answer when it is normalised; see `check_unicode`."""
    is_number = isinstance(answer, int | float)
    normal = answers.normalise(answer)
    if not normal or normal == "nan" or (is_number and not math.isfinite(float(str(answer)))):
        raise RowError(
            Reason.NO_ANSWER, f"{where} has {name!r} {shown(answer)}, expected an answer"
        )


def shown(value: object) -> str:
    """Returns a value as a message shows it: short, and in one line.

    >>> shown(None), shown([[]]), shown("a")
    ('null', 'a list', "'a'")
    """
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"'{printable(value, longest=LONGEST_VALUE)}'"
    if isinstance(value, int | float):
        return printable(str(value), longest=LONGEST_VALUE)
    return {"list": "a list", "dict": "an object"}.get(type(value).__name__, type(value).__name__)


class RowCheck:
    """Decides about rows that cannot be used: stops at the first, or leaves them out and counts.

    Attributes:
      options: Options of reading.
      skipped: Reason to number of rows that were left out.
    """

    def __init__(self, options: ReadOptions) -> None:
        self.options = options
        self.skipped: collections.Counter[str] = collections.Counter()
        self._ids: set[str] = set()

    def each(self, rows: Iterable[Source], make: Callable[[Source], Made | None]) -> Iterator[Made]:
        """Yields what is made of every row.

        Args:
          rows: Rows of a file.
          make: Function of a row that raises `RowError` if it cannot be used, and returns None if
            it is not wanted.

        Raises:
          RowError: at the first row that cannot be used, unless these are left out.
        """
        for row in rows:
            try:
                made = make(row)
            except RowError as error:
                if self.options.invalid_rows == "error":
                    hint = 'invalid_rows = "skip" leaves such rows out'
                    raise RowError(error.reason, f"{error} ({hint})") from error
                self.skipped[error.reason.value] += 1
                continue
            if made is not None:
                yield made

    def check_example(self, where: str, example: Mapping[str, Any]) -> None:
        """Checks the texts, the answer and the identifier of an example.

        Args:
          where: File and row.
          example: Features by name.

        Raises:
          RowError: if one is blank or no text, or another example has the identifier.
        """
        for name, value in example.items():
            if name in ("image", "label"):
                continue
            check_unicode(where, name, value)
            if not value.strip():
                raise RowError(Reason.NO_TEXT, f"{where} has an empty {name!r}")
        check_answer(where, "answer", example["answer"])
        identifier = example["example_id"]
        if identifier in self._ids:
            told = shown(identifier)
            raise RowError(Reason.REPEATED_ID, f"{where} repeats the identifier {told}")
        self._ids.add(identifier)


def describe_skipped(skipped: Mapping[str, int]) -> str:
    """Returns how many rows were left out, by reason.

    >>> describe_skipped({"no answer": 2, "repeated id": 1})
    '3 invalid rows left out (no answer: 2, repeated id: 1)'
    """
    listed = ", ".join(f"{reason}: {count}" for reason, count in sorted(skipped.items()))
    return f"{sum(skipped.values())} invalid rows left out ({listed})"
