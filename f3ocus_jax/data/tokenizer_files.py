"""Loading of a tokenizer: a checkpoint's own, or the vocabulary that comes with this package."""

import dataclasses
import json
import pathlib
import re
from typing import Any

import tokenizers
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from f3ocus_jax.data.tokenizer import (
    IMAGE_TOKEN,
    LLAMA_TOKENS,
    QUESTION,
    SPECIAL_TOKENS,
    SpecialTokens,
    Tokenizer,
)
from f3ocus_jax.errors import ConfigError

EMBEDDED_VOCABULARY = pathlib.Path(__file__).with_name("vocab.txt")
"""English function words, words of radiology and microscopy, and every printable ASCII character,
so that any English question can be written without [UNK]."""


_NAMED_TOKEN = re.compile(r"<[\w-]+>")


def load_tokenizer(
    directory: pathlib.Path | str | None = None, prompt: str = QUESTION
) -> Tokenizer:
    """Loads a tokenizer.

    Args:
      directory: Folder of a checkpoint, with tokenizer.json or vocab.txt; None for the vocabulary
        that comes with this package.
      prompt: Text around a question, with {question} in it. Every `<name>` in it is one token of
        this package's vocabulary, to which it is appended; a checkpoint's must have `<image>`.

    Returns:
      The tokenizer.

    Raises:
      ConfigError: if neither file exists, one cannot be read, or its vocabulary lacks a special
        token or has a token twice.
    """
    if directory is None:
        tokenizer = _from_vocabulary(EMBEDDED_VOCABULARY, lower_case=True)
        tokenizer.pieces.add_special_tokens(list(dict.fromkeys(_NAMED_TOKEN.findall(prompt))))
        return dataclasses.replace(tokenizer, prompt=prompt)
    folder = pathlib.Path(directory)
    if (folder / "tokenizer.json").is_file():
        tokenizer = _from_json(folder / "tokenizer.json")
    elif (folder / "vocab.txt").is_file():
        tokenizer = _from_vocabulary(folder / "vocab.txt", _lower_case(folder))
    else:
        raise ConfigError(
            f"{folder} holds no tokenizer: neither tokenizer.json nor vocab.txt is there; nothing "
            "is downloaded, so put one of them there from the model's page"
        )
    if IMAGE_TOKEN in prompt and tokenizer.pieces.token_to_id(IMAGE_TOKEN) is None:
        raise ConfigError(f"the tokenizer of {folder} lacks {IMAGE_TOKEN}, which its prompt needs")
    return dataclasses.replace(tokenizer, prompt=prompt, source=folder)


def _from_json(path: pathlib.Path) -> Tokenizer:
    try:
        pieces = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception
        raise ConfigError(f"{path} is not a tokenizer file: {error}") from error
    pieces.no_truncation()
    pieces.no_padding()
    return _checked(pieces, path)


def _from_vocabulary(path: pathlib.Path, lower_case: bool) -> Tokenizer:
    # Not splitlines: some vocabularies have tokens that it takes for the end of a line.
    tokens = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    ids = {token: index for index, token in enumerate(tokens)}
    if len(ids) != len(tokens):
        twice = next(token for index, token in enumerate(tokens) if ids[token] != index)
        raise ConfigError(f"{path} has {twice!r} twice; every line must be a different token")
    pieces = tokenizers.Tokenizer(WordPiece(ids, unk_token="[UNK]"))
    pieces.normalizer = BertNormalizer(lowercase=lower_case)
    pieces.pre_tokenizer = BertPreTokenizer()
    pieces.decoder = WordPieceDecoder()
    tokenizer = _checked(pieces, path)
    ends = [(token, ids[token]) for token in ("[CLS]", "[SEP]")]
    pieces.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    pieces.add_special_tokens(list(SPECIAL_TOKENS))
    # A tokenizer that did not accept its vocabulary still runs, and makes every word [UNK].
    if tokenizer.vocabulary_size != len(tokens):
        raise ConfigError(
            f"{path} has {len(tokens)} tokens, the tokenizer made of it {tokenizer.vocabulary_size}"
        )
    return tokenizer


def _checked(pieces: tokenizers.Tokenizer, path: pathlib.Path) -> Tokenizer:
    vocabulary = pieces.get_vocab()
    for tokens in LLAMA_TOKENS:
        if {tokens.start, tokens.padding} <= vocabulary.keys():
            return Tokenizer(pieces, tokens)
    missing = [token for token in SPECIAL_TOKENS if pieces.token_to_id(token) is None]
    if missing:
        named = _named_tokens(path.parent)
        if named and {named.start, named.padding} <= vocabulary.keys():
            return Tokenizer(pieces, named)
        raise ConfigError(f"{path} lacks {', '.join(missing)}: it is not a BERT vocabulary")
    if pieces.get_vocab_size() == len(SPECIAL_TOKENS):
        raise ConfigError(f"{path} holds special tokens only, every word would become [UNK]")
    return Tokenizer(pieces)


def _named_tokens(folder: pathlib.Path) -> SpecialTokens | None:
    """Returns the special tokens that tokenizer_config.json names, as SmolLM2's does, if any."""
    content = _settings(folder)
    start, padding = (
        token.get("content") if isinstance(token, dict) else token
        for token in (content.get("bos_token"), content.get("pad_token"))
    )
    return SpecialTokens(start, "", padding) if start and padding else None


def _lower_case(folder: pathlib.Path) -> bool:
    """Returns True if a checkpoint's text is lower-cased, from tokenizer_config.json if present."""
    return bool(_settings(folder).get("do_lower_case", True))


def _settings(folder: pathlib.Path) -> dict[str, Any]:
    """Returns the content of a folder's tokenizer_config.json; empty without the file."""
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not a JSON object: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is not a JSON object: it holds a {type(content).__name__}")
    return content
