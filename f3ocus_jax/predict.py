"""Ask a run's model: f3ocus predict --workdir runs/x --image scan.png --question TEXT."""

from collections.abc import Iterator

from absl import flags

from f3ocus_jax import _command_line
from f3ocus_jax.evaluation.answering import Answer
from tfds_medvqa.common.printable import printable


def define_flags() -> None:
    """Adds the image, the question, and the form of the answer."""
    flags.DEFINE_string("image", None, "image file", required=True)
    help_text = "question about the image, or the report that goes with it"
    flags.DEFINE_string("question", None, help_text, required=True)
    flags.DEFINE_integer("top", 5, "number of answers to print", lower_bound=1)
    help_text = (
        "client whose thresholds tell which findings are present (their mean unless given), and "
        "whose head answers where every client has its own"
    )
    flags.DEFINE_string("client", "", help_text)
    _command_line.define_round()


def main() -> None:
    """Prints the most probable answers, the written answer and every finding, where there are."""
    settings = flags.FLAGS
    finished, ((answer,), decoding) = _command_line.use_run(
        lambda opened: (
            opened.answer(
                settings.image, settings.question, client=settings.client, top=settings.top
            ),
            opened.decoding,
        )
    )
    print("\n".join(describe(answer, decoding)))
    because = f", {finished.choice}" if finished.choice else ""
    print(f"round {finished.round} of {finished.workdir}{because}")


def describe(answer: Answer, decoding: str) -> Iterator[str]:
    """Yields the lines of an answer.

    Args:
      answer: The answer.
      decoding: Name of the decoding that wrote its text; "" for an answer head.
    """
    if decoding:
        yield f"{decoding}: {printable(answer.text)}"
    for text, probability in answer.probabilities.items():
        yield f"{probability:6.1%}  {printable(text)}"
    for finding, probability in answer.findings.items():
        verdict = "present" if finding in answer.present else "absent"
        yield f"{probability:6.1%}  {verdict:<7}  {printable(finding)}"


if __name__ == "__main__":
    define_flags()
    _command_line.run(main)
