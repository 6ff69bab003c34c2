"""Conversion between answers and the tokens that a model writes."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from f3ocus_jax.data.examples import ClientData, Examples
from f3ocus_jax.data.tokenizer import Tokenizer
from tfds_medvqa.common.answers import normalise


@dataclasses.dataclass(frozen=True)
class AnswerTokenizer:
    """Turns answers into rows of one length: the normalised answer, its end token, padding.

    Attributes:
      tokenizer: Tokenizer of questions and answers.
      length: A, tokens of a row; a longer answer loses its last tokens and keeps its end token.
      end: Token id that ends an answer.
      padding: Token id that fills up a row.
    """

    tokenizer: Tokenizer
    length: int
    end: int
    padding: int

    def encode(self, answers: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Encodes N answers.

        Args:
          answers: N texts; they are normalised first.

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
        """Returns the normalised text of every row up to its end token."""
        rows = [row.tolist() for row in np.asarray(ids_NA)]
        kept = [row[: row.index(self.end)] if self.end in row else row for row in rows]
        return [normalise(text) for text in self.tokenizer.decode(kept)]

    def round_trip(self, answers: Sequence[str]) -> list[str]:
        """Returns answers as they read after encoding and decoding, without truncation."""
        pieces = self.tokenizer.encode_answers([normalise(answer) for answer in answers])
        return [normalise(text) for text in self.tokenizer.decode(pieces)]

    def add_tokens(self, client: ClientData) -> ClientData:
        """Returns a client whose examples have the tokens of their answers."""
        splits = {"train": client.train, "test": client.test, "validation": client.validation}
        known = {name: split for name, split in splits.items() if split is not None}
        tokenised: dict[str, Any] = {name: self._add_tokens(each) for name, each in known.items()}
        return dataclasses.replace(client, **tokenised)

    def _add_tokens(self, examples: Examples) -> Examples:
        ids_NA, mask_NA = self.encode(examples.answers)
        return dataclasses.replace(examples, answer_ids_NA=ids_NA, answer_mask_NA=mask_NA)


class AnswerIndex:
    """Index of every answer: the vocabulary's are its classes, other answers follow."""

    def __init__(
        self, vocabulary: Sequence[str], answers: Sequence[str], tokenizer: AnswerTokenizer
    ):
        """Builds the index.

        Args:
          vocabulary: Answers whose index is their position.
          answers: Further answers to index, such as those of test questions.
          tokenizer: Tokenizer that the model writes answers with.
        """
        self._round_trip = tokenizer.round_trip
        self._indices: dict[str, int] = {}
        others = sorted({normalise(answer) for answer in answers} - set(vocabulary))
        for index, text in enumerate(tokenizer.round_trip([*vocabulary, *others])):
            self._indices.setdefault(text, index)

    def lookup(self, answers: Sequence[str]) -> np.ndarray:
        """Returns the index of each answer, int32 [N]; -1 for an answer that is not indexed."""
        return self.lookup_decoded(self._round_trip(answers))

    def lookup_decoded(self, texts: Sequence[str]) -> np.ndarray:
        """Returns the index of each text decoded from tokens, int32 [N]; -1 if not indexed."""
        return np.array([self._indices.get(text, -1) for text in texts], np.int32)
