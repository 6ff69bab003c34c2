"""How does a question become token ids? WordPiece as BERT does it, or a checkpoint's own pieces."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Sequence

import numpy as np
import tokenizers
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, ByteLevel
from tokenizers.processors import TemplateProcessing

from f3ocus_jax.errors import ConfigError

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
EMBEDDED_VOCABULARY = pathlib.Path(__file__).with_name("vocab.txt")
"""English function words, words of radiology and microscopy, and every printable ASCII character,
so that any English question can be written without [UNK]."""


IMAGE_TOKEN = "<image>"
"""Stands for an image where a model reads images among its tokens."""

QUESTION = "{question}"
"""Where the question is in a prompt."""

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
)
"""What transformers may want of a tokenizer."""


@dataclasses.dataclass(frozen=True)
class SpecialTokens:
    """The special tokens of every row.

    Attributes:
      start: stands first.
      end: stands last; "" for none.
      padding: fills up the row.
    """

    start: str
    end: str
    padding: str


BERT_TOKENS = SpecialTokens("[CLS]", "[SEP]", "[PAD]")
LLAMA_TOKENS = (SpecialTokens("<s>", "", "<pad>"), SpecialTokens("<s>", "", "<unk>"))
"""The second is of tokenizers that were made without padding."""


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """Turns questions into rows of one length: start, prompt with the question, end, padding …

    Attributes:
      pieces: the tokenizer that cuts text into word pieces; it is never changed.
      frame: its special tokens.
      prompt: what is written around a question.
      source: folder it was read from, whose own files are handed on; None for this package's.
    """

    pieces: tokenizers.Tokenizer
    frame: SpecialTokens = BERT_TOKENS
    prompt: str = QUESTION
    source: pathlib.Path | None = None

    @property
    def vocabulary_size(self) -> int:
        """Entries of the vocabulary; token ids are below it."""
        return self.pieces.get_vocab_size()

    @property
    def minimum_length(self) -> int:
        """Tokens of a row that has room for one piece of the question."""
        return len(self._pieces([""])[0]) + 2 + bool(self.frame.end)

    def token_id(self, token: str) -> int:
        """Returns the id of a token.

        Args:
          token: one of the vocabulary, as in "[CLS]".

        Raises:
          KeyError: if it is not in the vocabulary.
        """
        return self.pieces.get_vocab()[token]

    def encode(self, questions: Sequence[str], length: int) -> tuple[np.ndarray, np.ndarray]:
        """Encodes questions.

        Args:
          questions: B texts.
          length: T, tokens of every row; longer questions lose their end, what the prompt has
            behind them stays.

        Returns:
          (input_ids_BT, attention_mask_BT), int32; the mask is 1 for a token and 0 for padding.

        Raises:
          ValueError: if `length` leaves no room for a word.
        """
        if length < self.minimum_length:
            raise ValueError(
                f"length = {length}, must be at least {self.minimum_length}: one word piece of the "
                "question, and what stands around it"
            )
        padding, start = (self.token_id(t) for t in (self.frame.padding, self.frame.start))
        end = [self.token_id(self.frame.end)] if self.frame.end else []
        behind, room = self._pieces_behind(), length - 1 - len(end)
        input_ids_BT = np.full((len(questions), length), padding, np.int32)
        attention_mask_BT = np.zeros((len(questions), length), np.int32)
        for row, ids in enumerate(self._pieces(questions)):
            kept = ids if len(ids) <= room else ids[: room - behind] + ids[len(ids) - behind :]
            token_ids = [start, *kept, *end]
            input_ids_BT[row, : len(token_ids)] = token_ids
            attention_mask_BT[row, : len(token_ids)] = 1
        return input_ids_BT, attention_mask_BT

    def _pieces(self, questions: Sequence[str]) -> list[list[int]]:
        prompts = [self.prompt.replace(QUESTION, question) for question in questions]
        return [e.ids for e in self.pieces.encode_batch(prompts, add_special_tokens=False)]

    def _pieces_behind(self) -> int:
        """Counts the pieces behind every question, as those that two questions end alike in."""
        one, other = self._pieces(["a", "?"])
        pairs = zip(reversed(one), reversed(other), strict=False)
        return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))

    def encode_answers(self, answers: Sequence[str]) -> list[list[int]]:
        """Encodes what follows a question, without special tokens.

        Args:
          answers: texts.

        Returns:
          The token ids of each.
        """
        # Byte-level pieces hold the space in front of a word; others know words without it.
        space = " " if isinstance(self.pieces.pre_tokenizer, ByteLevel) else ""
        encoded = self.pieces.encode_batch([space + a for a in answers], add_special_tokens=False)
        return [one.ids for one in encoded]

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Returns the texts of rows of token ids, without special tokens."""
        return [text.strip() for text in self.pieces.decode_batch([list(row) for row in rows])]

    def save(self, directory: pathlib.Path) -> None:
        """Writes tokenizer.json and tokenizer_config.json, and vocab.txt for WordPiece.

        A tokenizer that was read from a folder brings all of its files there as they are.

        Args:
          directory: an existing folder.
        """
        self._write(directory)
        for path in [self.source / name for name in FILES] if self.source else []:
            if path.is_file() and path.parent.resolve() != directory.resolve():
                (directory / path.name).write_bytes(path.read_bytes())

    def _write(self, directory: pathlib.Path) -> None:
        self.pieces.save(str(directory / "tokenizer.json"))
        if self.frame == BERT_TOKENS:
            by_id = sorted(self.pieces.get_vocab().items(), key=lambda entry: entry[1])
            (directory / "vocab.txt").write_text("".join(f"{token}\n" for token, _ in by_id))
            settings = {
                "tokenizer_class": "BertTokenizer",
                "do_lower_case": getattr(self.pieces.normalizer, "lowercase", True),
                **{f"{token[1:-1].lower()}_token": token for token in SPECIAL_TOKENS},
            }
        else:
            settings = {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": self.frame.start,
                "eos_token": "</s>",
                "pad_token": self.frame.padding,
                "unk_token": "<unk>",
            }
        (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def load_tokenizer(
    directory: pathlib.Path | str | None = None, prompt: str = QUESTION
) -> Tokenizer:
    """Reads a tokenizer.

    Args:
      directory: of a checkpoint, with tokenizer.json or vocab.txt; None for the vocabulary that
        comes with this package.
      prompt: what is written around a question, with {question} in it. If it holds an `<image>`,
        that is one token, which this package's vocabulary gets as its last.

    Returns:
      The tokenizer.

    Raises:
      ConfigError: if neither file is there, one cannot be read, or its vocabulary lacks a special
        token or names a token twice.
    """
    if directory is None:
        tokenizer = _from_vocabulary(EMBEDDED_VOCABULARY, lower_case=True)
        if IMAGE_TOKEN in prompt:
            tokenizer.pieces.add_special_tokens([IMAGE_TOKEN])
        return dataclasses.replace(tokenizer, prompt=prompt)
    folder = pathlib.Path(directory)
    if (folder / "tokenizer.json").is_file():
        tokenizer = _from_json(folder / "tokenizer.json")
    elif (folder / "vocab.txt").is_file():
        tokenizer = _from_vocabulary(folder / "vocab.txt", _lower_case(folder))
    else:
        raise ConfigError(
            f"{folder} holds no tokenizer: neither tokenizer.json nor vocab.txt is there; nothing "
            "is fetched, so place one of them there from the model's page"
        )
    if IMAGE_TOKEN in prompt and tokenizer.pieces.token_to_id(IMAGE_TOKEN) is None:
        raise ConfigError(f"the tokenizer of {folder} lacks {IMAGE_TOKEN}, which its prompt needs")
    return dataclasses.replace(tokenizer, prompt=prompt, source=folder)


def _from_json(path: pathlib.Path) -> Tokenizer:
    try:
        pieces = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception
        raise ConfigError(f"{path} is no tokenizer file: {error}") from error
    pieces.no_truncation()
    pieces.no_padding()
    return _checked(pieces, path)


def _from_vocabulary(path: pathlib.Path, lower_case: bool) -> Tokenizer:
    tokens = path.read_text(encoding="utf-8").splitlines()
    ids = {token: index for index, token in enumerate(tokens)}
    if len(ids) != len(tokens):
        twice = next(token for index, token in enumerate(tokens) if ids[token] != index)
        raise ConfigError(f"{path} names {twice!r} twice, every line must be another token")
    pieces = tokenizers.Tokenizer(WordPiece(ids, unk_token="[UNK]"))
    pieces.normalizer = BertNormalizer(lowercase=lower_case)
    pieces.pre_tokenizer = BertPreTokenizer()
    pieces.decoder = WordPieceDecoder()
    tokenizer = _checked(pieces, path)
    frame = [(token, ids[token]) for token in ("[CLS]", "[SEP]")]
    pieces.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=frame
    )
    pieces.add_special_tokens(list(SPECIAL_TOKENS))
    # A tokenizer whose vocabulary was not taken up still runs, and calls every word [UNK].
    if tokenizer.vocabulary_size != len(tokens):
        raise ConfigError(
            f"{path} has {len(tokens)} tokens, the tokenizer made of it {tokenizer.vocabulary_size}"
        )
    return tokenizer


def _checked(pieces: tokenizers.Tokenizer, path: pathlib.Path) -> Tokenizer:
    vocabulary = pieces.get_vocab()
    for frame in LLAMA_TOKENS:
        if {frame.start, frame.padding} <= vocabulary.keys():
            return Tokenizer(pieces, frame)
    missing = [token for token in SPECIAL_TOKENS if pieces.token_to_id(token) is None]
    if missing:
        raise ConfigError(f"{path} lacks {', '.join(missing)}: it is no vocabulary of BERT's kind")
    if pieces.get_vocab_size() == len(SPECIAL_TOKENS):
        raise ConfigError(f"{path} holds special tokens only, every word would become [UNK]")
    return Tokenizer(pieces)


def _lower_case(folder: pathlib.Path) -> bool:
    """Whether a checkpoint's text is lower-cased; so says tokenizer_config.json, if it is there."""
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return True
    try:
        return bool(json.loads(path.read_text()).get("do_lower_case", True))
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"{path} is no JSON object: {error}") from error
