"""Bits of correct answers go into a record and come out of it."""

import numpy as np
import pytest

from f3ocus_jax.evaluation import correctness


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000])
def test_bits_come_back_as_they_went_in(count):
    correct_N = np.random.default_rng(count).random(count) < 0.4
    text = correctness.pack(correct_N)
    np.testing.assert_array_equal(correctness.unpack(text), correct_N)
    assert len(text) <= len(str(count)) + 5 + count / 6


@pytest.mark.parametrize("text", ["", "9:", "9:/w==", "x:/4A=", "9:?", "-1:/w==", "8"])
def test_text_that_holds_no_bits_is_refused(text):
    with pytest.raises(ValueError, match="bits of"):
        correctness.unpack(text)
