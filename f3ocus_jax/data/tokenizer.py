"""Tokenizer of questions: BERT's WordPiece, or a checkpoint's own word pieces."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Sequence

import numpy as np
import tokenizers
from tokenizers import decoders, pre_tokenizers

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
IMAGE_TOKEN = "<image>"
"""Placeholder of an image in the token sequence of models that read images among their tokens."""

QUESTION = "{question}"
"""Placeholder of the question in a prompt."""

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
)
"""Files of a tokenizer that transformers may read."""


_BYTE_LEVEL = (pre_tokenizers.ByteLevel, decoders.ByteLevel)


@dataclasses.dataclass(frozen=True)
class SpecialTokens:
    """Special tokens of every row.

    Attributes:
      start: First token.
      end: Last token; "" for none.
      padding: Token that fills up the row.
    """

    start: str
    end: str
    padding: str


BERT_TOKENS = SpecialTokens("[CLS]", "[SEP]", "[PAD]")
LLAMA_TOKENS = (SpecialTokens("<s>", "", "<pad>"), SpecialTokens("<s>", "", "<unk>"))
"""The second is for tokenizers without a padding token."""


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """Turns questions into rows of one length: start, prompt with the question, end, padding …

    Attributes:
      pieces: Underlying tokenizer that splits text into word pieces; it is never changed.
      special_tokens: Special tokens of every row.
      prompt: Text around a question, with {question} in it.
      source: Folder it was loaded from, whose files `save` copies; None for this package's own.
    """

    pieces: tokenizers.Tokenizer
    special_tokens: SpecialTokens = BERT_TOKENS
    prompt: str = QUESTION
    source: pathlib.Path | None = None

    @property
    def vocabulary_size(self) -> int:
        """Size of the vocabulary; token ids are below it."""
        return self.pieces.get_vocab_size()

    @property
    def minimum_length(self) -> int:
        """Smallest row length that has room for one word piece of the question."""
        return len(self._pieces([""])[0]) + 2 + bool(self.special_tokens.end)

    def token_id(self, token: str) -> int:
        """Returns the id of a token.

        Args:
          token: Token of the vocabulary, such as "[CLS]".

        Raises:
          KeyError: if it is not in the vocabulary.
        """
        return self.pieces.get_vocab()[token]

    def encode(self, questions: Sequence[str], length: int) -> tuple[np.ndarray, np.ndarray]:
        """Encodes questions.

        Args:
          questions: B texts.
          length: T, tokens of every row; longer questions are cut off at their end, as
            transformers does, and the part of the prompt after them stays.

        Returns:
          (input_ids_BT, attention_mask_BT), int32; the mask is 1 for a token and 0 for padding.

        Raises:
          ValueError: if `length` leaves no room for a word.
        """
        if length < self.minimum_length:
            raise ValueError(
                f"length = {length}, must be at least {self.minimum_length}: one word piece of the "
                "question, and the prompt around it"
            )
        padding, start = (
            self.token_id(t) for t in (self.special_tokens.padding, self.special_tokens.start)
        )
        end = [self.token_id(self.special_tokens.end)] if self.special_tokens.end else []
        after, room = self._pieces_after(), length - 1 - len(end)
        input_ids_BT = np.full((len(questions), length), padding, np.int32)
        attention_mask_BT = np.zeros((len(questions), length), np.int32)
        for row, ids in enumerate(self._pieces(questions)):
            kept = ids if len(ids) <= room else ids[: room - after] + ids[len(ids) - after :]
            token_ids = [start, *kept, *end]
            input_ids_BT[row, : len(token_ids)] = token_ids
            attention_mask_BT[row, : len(token_ids)] = 1
        return input_ids_BT, attention_mask_BT

    def _pieces(self, questions: Sequence[str]) -> list[list[int]]:
        prompts = [self.prompt.replace(QUESTION, question) for question in questions]
        return [e.ids for e in self.pieces.encode_batch(prompts, add_special_tokens=False)]

    def count(self, questions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Counts the tokens of questions.

        Args:
          questions: B texts.

        Returns:
          (tokens_B, unknown_B), int64: the length of a row that would hold all of a question, and
          the number of its tokens that stand for text outside the vocabulary.
        """
        special = 1 + bool(self.special_tokens.end)
        unknown_token = getattr(self.pieces.model, "unk_token", None)
        unknown = self.pieces.token_to_id(unknown_token) if unknown_token else None
        rows = self._pieces(questions)
        tokens_B = np.array([len(ids) + special for ids in rows], np.int64)
        unknown_B = [0 if unknown is None else ids.count(unknown) for ids in rows]
        return tokens_B, np.array(unknown_B, np.int64)

    def _pieces_after(self) -> int:
        """Counts the pieces after the question: the common end of two different questions."""
        one, other = self._pieces(["a", "?"])
        pairs = zip(reversed(one), reversed(other), strict=False)
        return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))

    def encode_answers(self, answers: Sequence[str]) -> list[list[int]]:
        """Encodes the text that follows a question, without special tokens.

        Args:
          answers: N texts.

        Returns:
          The token ids of each answer.
        """
        # Byte-level pieces contain the space before a word; others do not.
        parts = self.pieces.pre_tokenizer, self.pieces.decoder
        space = " " if any(isinstance(part, _BYTE_LEVEL) for part in parts) else ""
        encoded = self.pieces.encode_batch([space + a for a in answers], add_special_tokens=False)
        return [one.ids for one in encoded]

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Returns the texts of rows of token ids, without special tokens."""
        return [text.strip() for text in self.pieces.decode_batch([list(row) for row in rows])]

    def save(self, directory: pathlib.Path) -> None:
        """Writes tokenizer.json and tokenizer_config.json, and vocab.txt for WordPiece.

        The files of a tokenizer that was loaded from a folder are copied unchanged.

        Args:
          directory: Existing folder to write to.
        """
        self._write(directory)
        for path in [self.source / name for name in TOKENIZER_FILES] if self.source else []:
            if path.is_file() and path.parent.resolve() != directory.resolve():
                (directory / path.name).write_bytes(path.read_bytes())

    def _write(self, directory: pathlib.Path) -> None:
        self.pieces.save(str(directory / "tokenizer.json"))
        if self.special_tokens == BERT_TOKENS:
            by_id = sorted(self.pieces.get_vocab().items(), key=lambda entry: entry[1])
            (directory / "vocab.txt").write_text(
                "".join(f"{token}\n" for token, _ in by_id), encoding="utf-8"
            )
            settings = {
                "tokenizer_class": "BertTokenizer",
                "do_lower_case": getattr(self.pieces.normalizer, "lowercase", True),
                **{f"{token[1:-1].lower()}_token": token for token in SPECIAL_TOKENS},
            }
        else:
            settings = {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": self.special_tokens.start,
                "eos_token": "</s>",
                "pad_token": self.special_tokens.padding,
                "unk_token": "<unk>",
            }
        (directory / "tokenizer_config.json").write_text(
            json.dumps(settings, indent=2) + "\n", encoding="utf-8"
        )
