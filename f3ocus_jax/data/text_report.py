"""What tokenising does to the questions of each client: unknown tokens, and questions cut."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from f3ocus_jax.data.table import Table
from f3ocus_jax.data.tokenizer import Tokenizer
from f3ocus_jax.errors import ConfigError
from tfds_medvqa.common.printable import printable
from tfds_medvqa.common.rows import UNKNOWN

LONGEST_NAME = 60
"""Characters of a client's name in a printed line."""


@dataclasses.dataclass(frozen=True)
class TextReport:
    """Questions of one client, over all of its splits.

    Attributes:
      client: Name of the client.
      questions: Number of examples.
      unknown_share: Fraction of the tokens that the tokenizer does not know.
      cut: Number of examples whose question is longer than `config.data.question_length`.
      longest: Tokens of the longest question, with its special tokens.
      unknown_by_language: Language to that fraction in its questions; none where no question's
        language is known.
    """

    client: str
    questions: int
    unknown_share: float
    cut: int
    longest: int
    unknown_by_language: dict[str, float] = dataclasses.field(default_factory=dict)

    def line(self, length: int) -> str:
        """Returns the line that is printed when a run starts, "" if there is nothing to say.

        Args:
          length: `config.data.question_length`.
        """
        said = []
        if self.unknown_share:
            said.append(
                f"{100 * self.unknown_share:.1f} % of the questions' tokens are unknown"
                f"{self.in_brackets()}"
            )
        if self.cut:
            said.append(
                f"{self.cut} of {self.questions} questions lose their end: the longest has "
                f"{self.longest} tokens, config.data.question_length is {length}"
            )
        return f"  {printable(self.client, LONGEST_NAME)}  {'; '.join(said)}" if said else ""

    def languages(self) -> str:
        """Returns the share of unknown tokens of each language, the largest first."""
        ordered = sorted(self.unknown_by_language.items(), key=lambda entry: (-entry[1], entry[0]))
        return ", ".join(f"{printable(name)} {100 * share:.1f} %" for name, share in ordered)

    def in_brackets(self) -> str:
        """Returns `languages` as it follows the share of all, "" where no language is known."""
        return f" ({self.languages()})" if self.unknown_by_language else ""


def report_texts(
    clients: Mapping[str, Mapping[str, Table]], tokenizer: Tokenizer, length: int
) -> list[TextReport]:
    """Counts what a tokenizer does to the questions of all clients.

    Args:
      clients: Client to split to examples.
      tokenizer: Tokenizer of the questions.
      length: Tokens of a question, with its special tokens.

    Returns:
      One report per client.
    """
    reports = []
    for name, splits in clients.items():
        columns = [table.columns["question"] for table in splits.values()]
        pieces_N, unknown_N = (
            np.concatenate(counts)
            for counts in zip(
                *(
                    [counted_Q[column.code_N] for counted_Q in tokenizer.count(column.values)]
                    for column in columns
                ),
                strict=True,
            )
        )
        languages_N = np.array(
            [each for table in splits.values() for each in table.texts("language")], object
        )
        reports.append(
            TextReport(
                client=name,
                questions=len(pieces_N),
                unknown_share=_share(unknown_N, pieces_N),
                cut=int((pieces_N > length).sum()),
                longest=int(pieces_N.max(initial=0)),
                unknown_by_language=_by_language(languages_N, unknown_N, pieces_N),
            )
        )
    return reports


def _share(unknown_N: np.ndarray, pieces_N: np.ndarray) -> float:
    total = int(pieces_N.sum())
    return float(unknown_N.sum() / total) if total else 0.0


def _by_language(
    languages_N: np.ndarray, unknown_N: np.ndarray, pieces_N: np.ndarray
) -> dict[str, float]:
    names = sorted(set(languages_N.tolist()))
    if names == [UNKNOWN]:
        return {}
    return {
        name: _share(unknown_N[languages_N == name], pieces_N[languages_N == name])
        for name in names
    }


def check_known(reports: list[TextReport], most: float) -> None:
    """Raises ConfigError if a client has a larger share of unknown tokens than a run may have."""
    for report in reports:
        if report.unknown_share > most:
            client = printable(report.client, LONGEST_NAME)
            raise ConfigError(
                f"{100 * report.unknown_share:.0f} % of the tokens in questions of client {client} "
                f"are unknown to the tokenizer{report.in_brackets()}, more than "
                f"config.data.max_unknown_share = {most}: take weights whose tokenizer knows the "
                "language (config.model.weights), or raise it"
            )
