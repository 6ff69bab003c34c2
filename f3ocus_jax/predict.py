"""Ask a run's model: f3ocus predict --workdir runs/x --image scan.png --question TEXT.

Several questions are asked with several --question, or with --questions FILE; the model is loaded
once.
"""

import pathlib
import sys

from absl import flags

from f3ocus_jax import _command_line
from f3ocus_jax.data.question_files import Asked, read_questions
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.evaluation.answer_formats import FORMATS, Answered


def define_flags() -> None:
    """Adds images, questions, and the form of the answers."""
    flags.DEFINE_string("image", None, "image file; for all rows of --questions that name none")
    help_text = "question about the image, or the report that goes with it; may be repeated"
    flags.DEFINE_multi_string("question", [], help_text)
    help_text = "CSV or JSON lines with 'question', and 'image' relative to the file's folder"
    flags.DEFINE_string("questions", None, help_text)
    flags.DEFINE_integer("top", 5, "number of answers to print", lower_bound=1)
    flags.DEFINE_enum("format", "text", FORMATS, "form of the answers on standard output")
    help_text = (
        "client whose thresholds tell which findings are present (their mean unless given), and "
        "whose head answers where every client has its own"
    )
    flags.DEFINE_string("client", "", help_text)
    _command_line.define_round()


def main() -> None:
    """Prints the most probable answers, the written answer and every finding, where there are."""
    settings = flags.FLAGS
    asked = questions_of(settings.image, settings.question, settings.questions)
    images, questions = [one.image for one in asked], [one.question for one in asked]
    finished, (answers, decoding) = _command_line.use_run(
        lambda opened: (
            opened.answer(images, questions, client=settings.client, top=settings.top),
            opened.decoding,
        )
    )
    answered = [
        Answered(str(one.image), one.question, answer)
        for one, answer in zip(asked, answers, strict=True)
    ]
    print(FORMATS[settings.format](answered, decoding))
    because = f", {finished.choice}" if finished.choice else ""
    # What a program reads from standard output is the answers alone.
    target = sys.stdout if settings.format == "text" else sys.stderr
    print(f"round {finished.round} of {finished.workdir}{because}", file=target)


def questions_of(image: str | None, given: list[str], file: str | None) -> list[Asked]:
    """Returns the questions of the command line and those of a file.

    Args:
      image: Image of the questions of the command line, and of rows that name none.
      given: Questions of the command line.
      file: File of questions; None for none.

    Raises:
      ConfigError: If there is no question, or no image for those of the command line.
      DataError, FileNotFoundError: If the file cannot be used.
    """
    if not given and file is None:
        raise ConfigError("no question is given: --question TEXT, or --questions FILE")
    if given and image is None:
        raise ConfigError("--question needs the image that it asks about: --image FILE")
    common = None if image is None else pathlib.Path(image)
    asked = [Asked(pathlib.Path(image or ""), question) for question in given]
    return asked if file is None else [*asked, *read_questions(pathlib.Path(file), common)]


if __name__ == "__main__":
    define_flags()
    _command_line.run(main)
