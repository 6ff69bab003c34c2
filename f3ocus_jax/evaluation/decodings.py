"""Decoding strategies of written answers, by name."""

import dataclasses
from collections.abc import Sequence

from f3ocus_jax.config import Component, Section, setting
from f3ocus_jax.data.answer_tokens import AnswerTokenizer
from f3ocus_jax.models.generation import decoding
from f3ocus_jax.models.generation.generator import Generator

RANK = "rank"


@dataclasses.dataclass(frozen=True)
class BeamOptions(Section):
    """Options of beam search."""

    beams: int = setting(3, "Unfinished answers that are kept.", at_least=1, at_most=1000)


def make_greedy(
    generator: Generator, tokenizer: AnswerTokenizer, vocabulary: Sequence[str]
) -> decoding.Decode:
    """Makes greedy search, which may write any answer: (params, batch) -> ids_BA."""
    del vocabulary
    return decoding.make_greedy_search(generator, tokenizer.length)


def make_beam(
    generator: Generator,
    tokenizer: AnswerTokenizer,
    vocabulary: Sequence[str],
    options: BeamOptions,
) -> decoding.Decode:
    """Makes beam search, which may write any answer: (params, batch) -> ids_BA."""
    del vocabulary
    return decoding.make_beam_search(generator, tokenizer.length, options.beams)


def make_rank(
    generator: Generator, tokenizer: AnswerTokenizer, vocabulary: Sequence[str]
) -> decoding.Rank:
    """Makes the ranking of a vocabulary: (params, batch) -> logits_BC of its answers."""
    return decoding.make_ranking(generator, *tokenizer.encode(vocabulary))


DECODINGS = {
    "greedy": Component(None, make_greedy),
    "beam": Component(BeamOptions, make_beam),
    RANK: Component(None, make_rank),
}
"""Decoding strategies by name: make(generator, tokenizer, vocabulary[, options])."""
