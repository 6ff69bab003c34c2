"""The answer vocabulary: where it comes from, and which spellings are one answer."""

import pytest

from f3ocus_jax.data.answers import AnswerVocabulary
from f3ocus_jax.errors import ConfigError


def test_the_vocabulary_is_sorted_whatever_the_order_of_clients_and_answers():
    one = AnswerVocabulary.from_answers([["yes", "lung"], ["no"]])
    other = AnswerVocabulary.from_answers([["no"], ["lung", "yes", "yes"]])
    assert one == other
    assert one.answers == ("lung", "no", "yes")
    assert len(one) == 3


def test_counts_are_taken_over_all_clients_together():
    clients = [["yes", "rare"], ["Yes.", "no"], ["no"]]
    assert AnswerVocabulary.from_answers(clients, 2).answers == ("no", "yes")


def test_the_class_of_an_answer_is_its_place_in_any_spelling():
    vocabulary = AnswerVocabulary(("left lung", "no"))
    assert vocabulary.index("Left  lung.") == 0
    assert vocabulary.index("no") == 1


def test_an_answer_outside_the_vocabulary_is_minus_one():
    assert AnswerVocabulary(("no",)).index("maybe") == -1


def test_a_count_that_no_answer_reaches_is_refused():
    with pytest.raises(ConfigError, match="minimum_answer_count = 3, must be at most 2"):
        AnswerVocabulary.from_answers([["yes", "no"], ["yes"]], 3)


def test_an_answer_given_twice_is_refused():
    with pytest.raises(ConfigError, match="'no' occurs twice"):
        AnswerVocabulary(("no", "no"))
