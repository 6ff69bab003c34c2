"""Reading of ImageCLEF's VQA-Med datasets, whose files have the same format every year."""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tfds_medvqa.common.features import question_example
from tfds_medvqa.common.rows import ENGLISH, UNKNOWN, Reason, Row, RowError, check_answer, shown
from tfds_medvqa.common.source_folder import SourceFolder, listed
from tfds_medvqa.common.source_images import SourceImage
from tfds_medvqa.common.tables import piped_rows

QUESTION_COLUMNS = ("image", "question", "answer")


@dataclasses.dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
      name: Name of its image file without ".jpg".
      image: Its image.
      question: Text of the question.
      answer: Answer as released.
      question_type: Category of the question.
    """

    name: str
    image: SourceImage
    question: str
    answer: str
    question_type: str


class ImageFolder:
    """Images by their names without the suffix.

    Args:
      files: Source folder of the user.
      name: Name of the folder of images.
    """

    def __init__(self, files: SourceFolder, name: str) -> None:
        self._files, self._folder = files, files.folder(name)
        self._names = {path.stem: path.name for path in reversed(listed(self._folder))}

    def image(self, row: Row) -> SourceImage:
        """Finds the image of a row.

        Raises:
          RowError: if it is absent or outside of the folder.
        """
        name = row.text("image")
        return self._files.image(row, self._names.get(name, f"{name}.jpg"), self._folder)


def read_questions(
    files: SourceFolder, name: str, images: ImageFolder, question_type: str
) -> list[Question]:
    """Reads a file of lines image|question|answer, all of one category."""

    def make(row: Row) -> Question:
        return make_question(row, images, row.answer("answer"), question_type)

    return list(files.each(piped_rows(files.file(name), QUESTION_COLUMNS), make))


def make_question(row: Row, images: ImageFolder, answer: str, question_type: str) -> Question:
    """Makes a question of the fields image and question of a line, and its answer."""
    return Question(
        row.text("image"), images.image(row), row.text("question"), answer, question_type
    )


def read_questions_and_references(
    files: SourceFolder, questions: str, references: str, images: ImageFolder, question_type: str
) -> list[Question]:
    """Reads a test set, whose answers are in a separate file.

    Args:
      files: Source folder of the user.
      questions: File of lines image|question.
      references: File of lines image|answer, with alternative answers after further bars.
      images: Images of the questions.
      question_type: Category of all questions.

    Returns:
      The questions with their first reference answer, in the order of `questions`.

    Raises:
      RowError: for a question without an answer, or with two different ones.
    """
    path = files.file(references)
    answers = read_references(files, path)

    def make(row: Row) -> Question:
        name = row.text("image")
        if name not in answers:
            raise RowError(Reason.NO_ANSWER, f"{path}: has no answer for {name} ({row.where})")
        return make_question(row, images, answers[name], question_type)

    return list(files.each(piped_rows(files.file(questions), ("image", "question")), make))


def read_references(files: SourceFolder, path: pathlib.Path) -> dict[str, str]:
    """Reads a file of lines image|answer as image to its first answer."""
    answers: dict[str, str] = {}

    def add(row: Row) -> None:
        name, answer = row.text("image"), row.answer("answer").split("|")[0].strip()
        check_answer(row.where, "answer", answer)
        if answers.setdefault(name, answer) != answer:
            raise row.error(Reason.REPEATED_ID, f"has another answer for {shown(name)}")

    for _ in files.each(piped_rows(path, ("image", "answer")), add):
        pass
    return answers


def first_reference(answer: str) -> str:
    """Returns the first answer of a reference answer of 2019.

    Args:
      answer: Right answers separated by "#", with optional parts in round brackets.

    Returns:
      The first right answer, without its optional parts.

    >>> first_reference("(invasive disease with) septic emboli#abscess")
    'septic emboli'
    """
    return re.sub(r"\([^()]*\)", " ", answer.split("#")[0]).strip() or answer.split("#")[0]


def make_examples(
    questions: Iterable[Question], source: str, anatomies: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Yields the examples of one split.

    Args:
      questions: Questions in order; an image may have several.
      source: Name of the dataset.
      anatomies: Image to the part of the body it shows, if known.
    """
    for number, question in enumerate(questions):
        yield question_example(
            image=question.image,
            image_id=f"{question.name}.jpg",
            example_id=f"{source}/{question.name}/{question.question_type}/{number}",
            question=question.question,
            answer=question.answer,
            question_type=question.question_type,
            source=source,
            anatomy=anatomies.get(question.name, UNKNOWN),
            language=ENGLISH,
        )


TRAINING_2020 = ("VQAnswering_2020_Train_QA_pairs.txt", "VQAnswering_2020_Train_images")
VALIDATION_2020 = ("VQAnswering_2020_Val_QA_Pairs.txt", "VQAnswering_2020_Val_images")
"""Question file and image folder; both are released again as the training set of 2021."""


def abnormality_examples(
    files: SourceFolder, parts: Iterable[tuple[str, str]], source: str
) -> Iterator[dict[str, Any]]:
    """Makes the examples of a split about abnormalities.

    Args:
      files: Source folder of the user.
      parts: Question file and image folder of each part of the split.
      source: Name of the dataset.

    Returns:
      An iterator of examples; the presence of all files is checked at the call.

    Raises:
      BuildError: if a file is absent.
    """
    questions = [
        question
        for pairs, folder in parts
        for question in read_questions(files, pairs, ImageFolder(files, folder), "abnormality")
    ]
    return make_examples(questions, source, {})


def abnormality_tests(
    files: SourceFolder, questions: str, references: str, folder: str, source: str
) -> Iterator[dict[str, Any]]:
    """Makes the examples of a test set, whose references are in a separate file."""
    rows = read_questions_and_references(
        files, questions, references, ImageFolder(files, folder), "abnormality"
    )
    return make_examples(rows, source, {})
