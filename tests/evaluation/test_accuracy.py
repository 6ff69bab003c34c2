"""Metrics count correctly, and baselines see training answers only."""

import numpy as np
import pytest

from f3ocus_jax.evaluation import accuracy as metrics


def test_accuracy_report_counts_by_hand():
    report = metrics.accuracy_report(
        predictions_B=np.array([0, 1, 2, 3]),
        labels_B=np.array([0, 1, 0, 2]),
        answer_types=["closed", "open", "open", "open"],
        question_types=["anatomy", "anatomy", "grading", "grading"],
        losses_B=np.array([0.0, 1.0, 2.0, 5.0], np.float32),
    )
    assert report == pytest.approx(
        {
            "examples": 4,
            "accuracy": 0.5,
            "loss": 2.0,
            "closed": 1.0,
            "open": 1 / 3,
            "type/anatomy": 1.0,
            "type/grading": 0.0,
        }
    )
    assert all(type(value) is float for value in report.values())


def test_accuracy_report_counts_an_unknown_answer_as_wrong_and_takes_no_loss_from_it():
    report = metrics.accuracy_report(
        np.array([-1, 1]), np.array([-1, 1]), ["open"] * 2, ["a"] * 2, np.array([np.nan, 3.0])
    )
    assert report["accuracy"] == 0.5
    assert report["loss"] == 3.0


def test_accuracy_report_leaves_out_groups_without_examples():
    report = metrics.accuracy_report(
        np.array([0]), np.array([-1]), ["open"], ["anatomy"], np.array([0.0])
    )
    assert set(report) == {"examples", "accuracy", "open", "type/anatomy"}


def test_accuracy_report_refuses_no_examples_and_uneven_lengths():
    empty = np.zeros(0, np.int32)
    with pytest.raises(ValueError, match="0 examples"):
        metrics.accuracy_report(empty, empty, [], [], empty)
    with pytest.raises(ValueError, match=r"labels_B 2.*losses_B 1"):
        metrics.accuracy_report(
            np.array([0, 1]), np.array([0, 1]), ["open"] * 2, ["a"] * 2, np.array([0.0])
        )


def test_majority_answer_is_taken_from_training():
    train, test = np.array([2, 2, 1]), np.array([1, 1, 1, 2])
    assert metrics.majority_answer(train, test) == 0.25


def test_majority_answer_breaks_ties_towards_the_smaller_label():
    assert metrics.majority_answer(np.array([3, 1, 3, 1]), np.array([1])) == 1.0


def test_majority_answer_never_matches_unknown_answers():
    train, test = np.array([-1, -1, -1, 0]), np.array([-1, 0])
    assert metrics.majority_answer(train, test) == 0.5
    assert metrics.majority_answer(np.array([-1]), np.array([-1])) == 0.0


def test_majority_per_question_uses_the_question_and_falls_back():
    accuracy = metrics.majority_per_question(
        train_questions=["what?", "what?", "where?", "where?", "where?"],
        train_labels_B=np.array([0, 0, 1, 1, 1]),
        test_questions=["what?", "where?", "who?", "who?"],
        test_labels_B=np.array([0, 1, 1, 0]),
    )
    assert accuracy == 0.75


def test_baselines_refuse_an_empty_split_and_uneven_lengths():
    with pytest.raises(ValueError, match="training split has 0 examples"):
        metrics.majority_answer(np.zeros(0, int), np.array([1]))
    with pytest.raises(ValueError, match="test split has 0 examples"):
        metrics.majority_per_question(["a"], np.array([1]), [], np.zeros(0, int))
    with pytest.raises(ValueError, match="train_questions 2, train_labels_B 1"):
        metrics.majority_per_question(["a", "b"], np.array([1]), ["a"], np.array([1]))
