"""How do answers become tokens that a model can write, and tokens answers?"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from f3ocus_jax.data.examples import ClientData, Examples
from f3ocus_jax.data.tokenizer import Tokenizer
from tfds_medvqa.common.answers import normalise


@dataclasses.dataclass(frozen=True)
class AnswerTokens:
    """Rows of tokens of one length: the normalised answer, its end, padding.

    Attributes:
      tokenizer: of questions and answers.
      length: A, tokens of a row; longer answers lose their last ones, and keep the end.
      end: the token that ends an answer.
      padding: the token behind the end.
    """

    tokenizer: Tokenizer
    length: int
    end: int
    padding: int

    def encode(self, answers: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Encodes N answers.

        Args:
          answers: in any spelling that `normalise` takes away.

        Returns:
          (ids_NA, mask_NA), int32; the mask is 1 for a token and for the end, 0 for padding.
        """
        ids_NA = np.full((len(answers), self.length), self.padding, np.int32)
        mask_NA = np.zeros_like(ids_NA)
        pieces = self.tokenizer.encode_answers([normalise(answer) for answer in answers])
        for row, ids in enumerate(pieces):
            tokens = [*ids[: self.length - 1], self.end]
            ids_NA[row, : len(tokens)] = tokens
            mask_NA[row, : len(tokens)] = 1
        return ids_NA, mask_NA

    def decode(self, ids_NA: np.ndarray) -> list[str]:
        """Returns the normalised text of every row up to its end."""
        rows = [row.tolist() for row in np.asarray(ids_NA)]
        kept = [row[: row.index(self.end)] if self.end in row else row for row in rows]
        return [normalise(text) for text in self.tokenizer.decode(kept)]

    def spell(self, answers: Sequence[str]) -> list[str]:
        """Returns answers as they read when they have been tokens, whatever their length."""
        pieces = self.tokenizer.encode_answers([normalise(answer) for answer in answers])
        return [normalise(text) for text in self.tokenizer.decode(pieces)]

    def add(self, client: ClientData) -> ClientData:
        """Returns a client whose examples have the tokens of their answers."""
        return dataclasses.replace(
            client, train=self._add(client.train), test=self._add(client.test)
        )

    def _add(self, examples: Examples) -> Examples:
        ids_NA, mask_NA = self.encode(examples.answers)
        return dataclasses.replace(examples, answer_ids_NA=ids_NA, answer_mask_NA=mask_NA)


class AnswerTable:
    """Numbers for answers: those of the vocabulary are its classes, others follow."""

    def __init__(self, vocabulary: Sequence[str], answers: Sequence[str], tokens: AnswerTokens):
        """Makes the table.

        Args:
          vocabulary: answers whose number is their place.
          answers: others that shall have one, such as those of test questions.
          tokens: how they are spelt.
        """
        self._spell = tokens.spell
        self._numbers: dict[str, int] = {}
        others = sorted({normalise(answer) for answer in answers} - set(vocabulary))
        for number, spelling in enumerate(tokens.spell([*vocabulary, *others])):
            self._numbers.setdefault(spelling, number)

    def numbers(self, answers: Sequence[str]) -> np.ndarray:
        """Returns the number of each answer, int32 [N]; -1 for one that is not in the table."""
        return self.written(self._spell(answers))

    def written(self, texts: Sequence[str]) -> np.ndarray:
        """Returns the same of texts that have been tokens."""
        return np.array([self._numbers.get(text, -1) for text in texts], np.int32)
