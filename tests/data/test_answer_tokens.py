"""Answers as tokens that a model writes."""

import numpy as np
import pytest
import tokenizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from f3ocus_jax.data.answer_tokens import AnswerIndex, AnswerTokenizer
from f3ocus_jax.data.tokenizer import Tokenizer
from f3ocus_jax.data.tokenizer_files import load_tokenizer


@pytest.fixture
def tokens():
    tokenizer = load_tokenizer()
    return AnswerTokenizer(
        tokenizer, 5, end=tokenizer.token_id("[SEP]"), padding=tokenizer.token_id("[PAD]")
    )


def test_an_answer_is_read_back_from_its_tokens(tokens):
    answers = ["Yes", "left lung", "T2-weighted"]
    ids_NA, mask_NA = tokens.encode(answers)
    np.testing.assert_array_equal(mask_NA, ids_NA != tokens.padding)
    assert (ids_NA == tokens.end).sum(axis=1).tolist() == [1, 1, 1]
    assert tokens.decode(ids_NA) == tokens.round_trip(answers)
    assert tokens.decode(ids_NA)[:2] == ["yes", "left lung"]


def test_what_is_written_behind_the_end_does_not_count(tokens):
    ids_NA, _ = tokens.encode(["no"])
    ids_NA[0, -1] = ids_NA[0, 0]
    assert tokens.decode(ids_NA) == ["no"]


def test_a_long_answer_keeps_its_end_and_is_not_taken_for_right(tokens):
    long = "right upper lobe of the lung and the heart"
    ids_NA, mask_NA = tokens.encode([long])
    assert mask_NA.sum() == 5
    assert ids_NA[0, -1] == tokens.end
    table = AnswerIndex(["yes"], [long], tokens)
    assert table.lookup([long]).tolist() == [1]
    assert table.lookup_decoded(tokens.decode(ids_NA)).tolist() == [-1]


def test_answers_outside_the_vocabulary_have_numbers_behind_it(tokens):
    table = AnswerIndex(["no", "yes"], ["heart", "Yes", "brain"], tokens)
    assert table.lookup(["yes", "no", "brain", "heart", "lung"]).tolist() == [1, 0, 2, 3, -1]
    assert table.lookup_decoded(["Yes", "yes"]).tolist() == [-1, 1]


def test_byte_level_pieces_get_the_space_that_follows_a_question():
    pieces = tokenizers.Tokenizer(BPE({"\u0120": 0, "y": 1, "\u0120y": 2}, [("\u0120", "y")]))
    pieces.pre_tokenizer = ByteLevel(add_prefix_space=False)
    assert Tokenizer(pieces).encode_answers(["y"]) == [[2]]
