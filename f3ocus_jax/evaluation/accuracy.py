"""Accuracy of answers by kind of question, and of image-blind majority baselines."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

UNKNOWN_ANSWER = -1
"""Label of an answer outside the vocabulary, which no prediction can match."""

MAIN_METRICS = {"accuracy": "accuracy", "f1_micro": "micro F1"}
"""Main metric of a client, for answers and for findings, and its name in reports."""


def main_metric(report: Mapping[str, float]) -> float:
    """Returns a client's main metric.

    Args:
      report: Metrics from `accuracy_report` or `findings_f1.f1_report`.

    Returns:
      A fraction in [0, 1].
    """
    return next(report[name] for name in MAIN_METRICS if name in report)


def main_metric_name(reports: Iterable[Mapping[str, float]]) -> str:
    """Returns the names of several clients' main metrics, as in "accuracy or micro F1"."""
    found = [report.keys() for report in reports]
    return " or ".join(
        text for name, text in MAIN_METRICS.items() if any(name in keys for keys in found)
    )


def accuracy_report(
    predictions_B: np.ndarray,
    labels_B: np.ndarray,
    answer_types: Sequence[str],
    question_types: Sequence[str],
    losses_B: np.ndarray,
) -> dict[str, float]:
    """Computes the accuracy of one client's answers (F³OCUS, section 4: accuracy for VQA).

    A group without examples has no entry, so that a mean over clients never meets a NaN. The loss
    is the mean over the examples with a known answer, and has no entry when there are none.

    Args:
      predictions_B: int index of the predicted answer.
      labels_B: int index of the true answer; -1 for an answer outside the vocabulary, which counts
        as answered wrongly.
      answer_types: B strings, "closed" (yes or no) or "open".
      question_types: B strings, such as "anatomy".
      losses_B: float loss of every example in nats; ignored where the label is -1.

    Returns:
      `examples` (their number), `accuracy`, `loss`, `closed`, `open`, and `type/<question type>`;
      accuracies are fractions in [0, 1].

    Raises:
      ValueError: if there are no examples or the arguments differ in length.
    """
    _check_lengths(
        predictions_B=len(predictions_B),
        labels_B=len(labels_B),
        answer_types=len(answer_types),
        question_types=len(question_types),
        losses_B=len(losses_B),
    )
    known_B = np.asarray(labels_B) != UNKNOWN_ANSWER
    correct_B = correct(predictions_B, labels_B)
    report = {"examples": float(len(labels_B)), "accuracy": float(correct_B.mean())}
    if known_B.any():
        report["loss"] = float(np.asarray(losses_B, np.float64)[known_B].mean())
    report |= _accuracy_by_group(correct_B, answer_types, prefix="")
    report |= _accuracy_by_group(correct_B, question_types, prefix="type/")
    return report


def correct(predictions_B: np.ndarray, labels_B: np.ndarray) -> np.ndarray:
    """Returns correct_B, bool: True where a prediction is the label, and the label is known."""
    labels_B = np.asarray(labels_B)
    return (np.asarray(predictions_B) == labels_B) & (labels_B != UNKNOWN_ANSWER)


def majority_answer(train_labels_B: np.ndarray, test_labels_B: np.ndarray) -> float:
    """Computes the accuracy of the most common training answer, given to every test question.

    Args:
      train_labels_B: int, training answers of the client; -1 (unknown) is never the majority.
      test_labels_B: int, test answers of the client; -1 counts as answered wrongly.

    Returns:
      Accuracy on the test split, a fraction in [0, 1].

    Raises:
      ValueError: if either split is empty.
    """
    _check_splits(len(train_labels_B), len(test_labels_B))
    guess = _most_common(train_labels_B)
    return float(np.mean([guess == label != UNKNOWN_ANSWER for label in test_labels_B]))


def majority_per_question(
    train_questions: Sequence[str],
    train_labels_B: np.ndarray,
    test_questions: Sequence[str],
    test_labels_B: np.ndarray,
) -> float:
    """Computes the accuracy of the most common training answer to the same question text.

    A question that does not occur in training gets the client's overall majority answer. A model
    that uses the image has to exceed this image-blind baseline.

    Args:
      train_questions: Training questions of the client.
      train_labels_B: int, their answers; -1 (unknown) is never the majority.
      test_questions: Test questions of the client.
      test_labels_B: int, their answers; -1 counts as answered wrongly.

    Returns:
      Accuracy on the test split, a fraction in [0, 1].

    Raises:
      ValueError: if either split is empty, or its questions and labels differ in number.
    """
    _check_splits(len(train_labels_B), len(test_labels_B))
    _check_lengths(train_questions=len(train_questions), train_labels_B=len(train_labels_B))
    _check_lengths(test_questions=len(test_questions), test_labels_B=len(test_labels_B))
    labels_by_question: dict[str, list[int]] = {}
    for question, label in zip(train_questions, train_labels_B, strict=True):
        labels_by_question.setdefault(question, []).append(int(label))
    fallback = _most_common(train_labels_B)
    guesses = {text: _most_common(labels) for text, labels in labels_by_question.items()}
    correct = [
        guesses.get(question, fallback) == label != UNKNOWN_ANSWER
        for question, label in zip(test_questions, test_labels_B, strict=True)
    ]
    return float(np.mean(correct))


def _accuracy_by_group(
    correct_B: np.ndarray, groups: Sequence[str], prefix: str
) -> dict[str, float]:
    """Returns the accuracy of every group that occurs, in alphabetical order."""
    groups_B = np.asarray(groups)
    return {
        f"{prefix}{group}": float(correct_B[groups_B == group].mean())
        for group in sorted(set(groups))
    }


def _most_common(labels: Sequence[int] | np.ndarray) -> int:
    """Returns the most frequent known label, the smallest on a tie, or -1 if none is known."""
    counts = Counter(int(label) for label in labels if label != UNKNOWN_ANSWER)
    return min(counts, key=lambda label: (-counts[label], label), default=UNKNOWN_ANSWER)


def _check_splits(train_examples: int, test_examples: int) -> None:
    """Raises if a baseline has no training or no test examples."""
    for split, examples in (("training", train_examples), ("test", test_examples)):
        if examples == 0:
            raise ValueError(
                f"the {split} split has 0 examples; a baseline needs at least 1: "
                "leave the client out or give it data"
            )


def _check_lengths(**lengths: int) -> None:
    """Raises if the named arguments are empty or disagree on the number of examples."""
    found = ", ".join(f"{name} {length}" for name, length in lengths.items())
    if len(set(lengths.values())) != 1:
        raise ValueError(f"one entry per example is needed, but the lengths differ: {found}")
    if 0 in lengths.values():
        raise ValueError(f"0 examples given ({found}); at least 1 is needed to report an accuracy")
