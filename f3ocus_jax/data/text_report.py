"""What tokenising does to the questions of each client: unknown tokens, and questions cut."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from f3ocus_jax.data.table import Table
from f3ocus_jax.data.tokenizer import Tokenizer
from f3ocus_jax.errors import ConfigError
from tfds_medvqa.common.printable import printable

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
    """

    client: str
    questions: int
    unknown_share: float
    cut: int
    longest: int

    def line(self, length: int) -> str:
        """Returns the line that is printed when a run starts, "" if there is nothing to say.

        Args:
          length: `config.data.question_length`.
        """
        said = []
        if self.unknown_share:
            said.append(f"{100 * self.unknown_share:.1f} % of the questions' tokens are unknown")
        if self.cut:
            said.append(
                f"{self.cut} of {self.questions} questions lose their end: the longest has "
                f"{self.longest} tokens, config.data.question_length is {length}"
            )
        return f"  {printable(self.client, LONGEST_NAME)}  {'; '.join(said)}" if said else ""


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
        total = int(pieces_N.sum())
        reports.append(
            TextReport(
                client=name,
                questions=len(pieces_N),
                unknown_share=float(unknown_N.sum() / total) if total else 0.0,
                cut=int((pieces_N > length).sum()),
                longest=int(pieces_N.max(initial=0)),
            )
        )
    return reports


def check_known(reports: list[TextReport], most: float) -> None:
    """Raises ConfigError if a client has a larger share of unknown tokens than a run may have."""
    for report in reports:
        if report.unknown_share > most:
            raise ConfigError(
                f"{100 * report.unknown_share:.0f} % of the tokens in questions of client "
                f"{printable(report.client, LONGEST_NAME)} are unknown to the tokenizer, more than "
                f"config.data.max_unknown_share = {most}: take weights whose tokenizer knows the "
                "language (config.model.weights), or raise it"
            )
