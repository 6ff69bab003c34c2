"""F1 against counting by hand, thresholds against trying all of them."""

import itertools

import numpy as np
import pytest

from f3ocus_jax.evaluation import findings_f1


def f1_by_counting(present, targets):
    pairs = list(zip(present, targets, strict=True))
    hits = sum(1 for p, t in pairs if p and t)
    wrong = sum(1 for p, t in pairs if p != t)
    return 2 * hits / (2 * hits + wrong) if hits else 0.0


@pytest.mark.parametrize("seed", range(10))
def test_f1_micro_and_macro_are_those_of_counting_one_by_one(seed):
    draw = np.random.default_rng(seed)
    present = draw.random((30, 6)) < draw.random(6)
    targets = draw.random((30, 6)) < draw.random(6) / 2
    targets[:, 0] = present[:, 0] = False
    found = findings_f1.f1_report(present, targets.astype(np.uint8))
    by_finding = [f1_by_counting(present[:, c], targets[:, c]) for c in range(6)]
    assert by_finding[0] == 0.0
    np.testing.assert_allclose(found["f1_macro"], np.mean(by_finding))
    np.testing.assert_allclose(found["f1_micro"], f1_by_counting(present.ravel(), targets.ravel()))
    same = [list(p) == list(t) for p, t in zip(present, targets, strict=True)]
    np.testing.assert_allclose(found["exact_match"], np.mean(same))


def test_a_known_case():
    """Worked out by hand: 3 hits, 1 missed, 1 too many; findings' F1 are 1, 2/3 and 2/3."""
    targets = np.array([[1, 0, 1], [1, 1, 0]])
    present = np.array([[1, 0, 1], [1, 1, 1]])
    found = findings_f1.f1_report(present, targets)
    np.testing.assert_allclose(found["f1_micro"], 8 / 9)
    np.testing.assert_allclose(found["f1_macro"], (1 + 1 + 2 / 3) / 3)
    assert found["exact_match"] == 0.5


@pytest.mark.parametrize("shape", [((0, 3), (0, 3)), ((2, 3), (2, 4)), ((3,), (3,))])
def test_shapes_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match=r"give two of \[examples, findings\]"):
        findings_f1.f1_report(np.zeros(shape[0]), np.zeros(shape[1]))


@pytest.mark.parametrize("seed", range(10))
def test_thresholds_are_as_good_as_the_best_of_all(seed):
    draw = np.random.default_rng(seed)
    scores = np.round(draw.uniform(0.1, 1, (25, 4)), 1)
    targets = draw.random((25, 4)) < 0.3
    targets[:, 3] = False
    thresholds = findings_f1.best_thresholds(scores, targets)
    assert thresholds[3] == findings_f1.NEVER
    for c in range(3):
        tried = [f1_by_counting(scores[:, c] >= cut, targets[:, c]) for cut in scores[:, c]]
        reached = f1_by_counting(scores[:, c] >= thresholds[c], targets[:, c])
        np.testing.assert_allclose(reached, max(tried))
        assert not np.isin(thresholds[c], scores[:, c])


def test_what_nobody_asked_about_counts_nowhere():
    targets = np.array([[1, -1, -1], [0, 1, -1], [1, 0, -1]], np.int8)
    present = np.array([[1, 1, 1], [0, 1, 1], [1, 0, 0]])
    found = findings_f1.f1_report(present, targets)
    assert (found["f1_micro"], found["f1_macro"], found["exact_match"]) == (1.0, 1.0, 1.0)
    thresholds = findings_f1.best_thresholds(np.full((3, 3), 0.5), targets)
    assert thresholds[2] == findings_f1.NEVER
    with pytest.raises(ValueError, match="no example labels any finding"):
        findings_f1.f1_report(present, np.full((3, 3), -1))


@pytest.mark.parametrize("seed", range(10))
def test_the_best_constant_guess_is_the_best_of_all_sets(seed):
    draw = np.random.default_rng(seed)
    train, test = (draw.random((20, 5)) < draw.random(5) for _ in range(2))
    best, score = max(
        (
            (chosen, f1_by_counting(np.tile(chosen, (20, 1)).ravel(), train.ravel()))
            for chosen in itertools.product([False, True], repeat=5)
        ),
        key=lambda pair: pair[1],
    )
    found = findings_f1.constant_f1(train.astype(np.int8), train.astype(np.int8))
    np.testing.assert_allclose(found, score)
    of_test = f1_by_counting(np.tile(best, (20, 1)).ravel(), test.ravel())
    np.testing.assert_allclose(
        findings_f1.constant_f1(train.astype(np.int8), test.astype(np.int8)), of_test
    )


def test_the_best_constant_guess_counts_findings_where_they_are_labelled():
    """The second finding is labelled once and present there: predicting it costs nothing."""
    train = np.array([[1, -1], [1, -1], [0, 1], [1, -1]], np.int8)
    test = np.array([[1, 1], [1, 1], [1, -1]], np.int8)
    assert findings_f1.constant_f1(train, test) == 1.0
    rare = np.array([[1, -1], [1, 0], [0, 0], [1, 0]], np.int8)
    # Only the first is predicted: of five present findings three are found.
    assert findings_f1.constant_f1(rare, test) == pytest.approx(2 * 3 / (3 + 5))
