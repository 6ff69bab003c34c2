"""Generated answers against values worked out by hand, and against sets of words."""

import math
from collections import Counter

import numpy as np
import pytest

from f3ocus_jax.evaluation import text_overlap


@pytest.mark.parametrize(
    ("answer", "reference", "expected_f1", "expected_bleu"),
    [
        ("left lung", "Left Lung.", 1.0, 1.0),
        ("lung", "left lung", 2 / 3, math.exp(-1)),
        ("the left lung", "left lung", 4 / 5, 2 / 3),
        ("lung lung", "left lung", 1 / 2, 1 / 2),
        ("two", "2", 1.0, 1.0),
        ("", "2", 0.0, 0.0),
        ("", "", 1.0, 1.0),
        ("yes", "no", 0.0, 0.0),
    ],
)
def test_values_worked_out_by_hand(answer, reference, expected_f1, expected_bleu):
    np.testing.assert_allclose(text_overlap.token_f1(answer, reference), expected_f1)
    np.testing.assert_allclose(text_overlap.bleu1(answer, reference), expected_bleu)


@pytest.mark.parametrize("seed", range(20))
def test_token_f1_is_the_harmonic_mean_of_precision_and_recall(seed):
    draw = np.random.default_rng(seed)
    given, right = ([f"w{n}" for n in draw.integers(0, 5, draw.integers(1, 8))] for _ in range(2))
    common = sum(min(given.count(word), right.count(word)) for word in set(given))
    precision, recall = common / len(given), common / len(right)
    expected = 2 / (1 / precision + 1 / recall) if common else 0.0
    found = text_overlap.token_f1(" ".join(given), " ".join(right))
    np.testing.assert_allclose(found, expected)
    clipped = sum(min(count, Counter(right)[word]) for word, count in Counter(given).items())
    penalty = min(1.0, math.exp(1 - len(right) / len(given)))
    bleu = text_overlap.bleu1(" ".join(given), " ".join(right))
    np.testing.assert_allclose(bleu, penalty * clipped / len(given))


def test_a_report_is_the_mean_over_questions():
    found = text_overlap.report(["Left lung", "yes"], ["left lung.", "no"])
    assert found == {"exact_match": 0.5, "token_f1": 0.5, "bleu1": 0.5}
    with pytest.raises(ValueError, match="1 answers and 2 references"):
        text_overlap.report(["yes"], ["yes", "no"])
    with pytest.raises(ValueError, match="0 answers"):
        text_overlap.report([], [])
