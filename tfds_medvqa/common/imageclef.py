"""Reading of ImageCLEF's VQA-Med datasets, whose files have the same format every year."""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.features import UNKNOWN, question_example
from tfds_medvqa.common.images import read_image
from tfds_medvqa.common.source_folder import SourceFolder, read_piped


@dataclasses.dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
      image: Name of its image file without ".jpg".
      question: Text of the question.
      answer: Answer as released.
      question_type: Category of the question.
    """

    image: str
    question: str
    answer: str
    question_type: str


def read_questions(path: pathlib.Path, question_type: str) -> list[Question]:
    """Reads a file of lines image|question|answer, all of one category."""
    return [
        Question(image, question, answer, question_type)
        for image, question, answer in read_piped(path, 3)
    ]


def read_questions_and_references(
    questions: pathlib.Path, references: pathlib.Path, question_type: str
) -> list[Question]:
    """Reads a test set, whose answers are in a separate file.

    Args:
      questions: File of lines image|question.
      references: File of lines image|answer, with alternative answers after further bars.
      question_type: Category of all questions.

    Returns:
      The questions with their first reference answer, in the order of `questions`.

    Raises:
      BuildError: for a question without an answer.
    """
    answers = {image: answer.split("|")[0].strip() for image, answer in read_piped(references, 2)}
    rows = read_piped(questions, 2)
    for image, _ in rows:
        if image not in answers:
            raise BuildError(f"{references}: has no answer for {image}")
    return [Question(image, text, answers[image], question_type) for image, text in rows]


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


def find_images(
    files: SourceFolder, folder: str, questions: Iterable[Question]
) -> dict[str, pathlib.Path]:
    """Finds the images of questions.

    Args:
      files: Source folder of the user.
      folder: Name of the folder of images.
      questions: Questions about the images.

    Returns:
      Image to path.

    Raises:
      BuildError: if an image is absent.
    """
    paths = {path.stem: path for path in files.folder(folder).iterdir()}
    for question in questions:
        if question.image not in paths:
            raise files.missing(f"{folder}/{question.image}.jpg")
    return paths


def make_examples(
    questions: Iterable[Question],
    images: Mapping[str, pathlib.Path],
    source: str,
    anatomies: Mapping[str, str],
) -> Iterator[dict[str, Any]]:
    """Yields the examples of one split.

    Args:
      questions: Questions in order; an image may have several.
      images: Image to path.
      source: Name of the dataset.
      anatomies: Image to the part of the body it shows, if known.
    """
    for number, question in enumerate(questions):
        yield question_example(
            image=read_image(images[question.image]),
            image_id=f"{question.image}.jpg",
            example_id=f"{source}/{question.image}/{question.question_type}/{number}",
            question=question.question,
            answer=question.answer,
            question_type=question.question_type,
            source=source,
            anatomy=anatomies.get(question.image, UNKNOWN),
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
    questions: list[Question] = []
    images: dict[str, pathlib.Path] = {}
    for pairs, folder in parts:
        part = read_questions(files.file(pairs), "abnormality")
        images |= find_images(files, folder, part)
        questions += part
    return make_examples(questions, images, source, {})


def abnormality_tests(
    files: SourceFolder, questions: str, references: str, folder: str, source: str
) -> Iterator[dict[str, Any]]:
    """Makes the examples of a test set, whose references are in a separate file."""
    rows = read_questions_and_references(
        files.file(questions), files.file(references), "abnormality"
    )
    return make_examples(rows, find_images(files, folder, rows), source, {})
