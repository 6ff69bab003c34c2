"""F1 of multi-label findings, and the probability thresholds above which they count as present.

A target of -1 is a finding that the example does not label; it counts nowhere.
"""

import numpy as np

NEVER = 2.0
"""Threshold of a finding that is never predicted: above any probability."""


def f1_report(predicted_NF: np.ndarray, targets_NF: np.ndarray) -> dict[str, float]:
    """Computes F1 of multi-label classification (F³OCUS, section 4: F1 for tasks 4 to 6).

    Args:
      predicted_NF: bool, True for a predicted finding.
      targets_NF: 1 for a finding that is present, 0 for an absent one, -1 for one not labelled.

    Returns:
      `f1_micro` (over all pairs of example and finding), `f1_macro` (mean over the findings),
      `exact_match` (fraction of examples with all findings right), all in [0, 1], and `examples`.
      A finding that is neither predicted nor present has F1 0 and counts in the mean, as in
      scikit-learn's `f1_score(zero_division=0)`; one that is never labelled does not count.

    Raises:
      ValueError: if there are no examples, the shapes differ, or nothing is labelled.
    """
    predicted_NF, targets_NF = np.asarray(predicted_NF, bool), np.asarray(targets_NF)
    if predicted_NF.shape != targets_NF.shape or predicted_NF.ndim != 2 or not len(targets_NF):
        raise ValueError(
            f"predictions of shape {predicted_NF.shape} and targets of shape {targets_NF.shape}; "
            "give two of [examples, findings] with at least one example"
        )
    labelled_NF, present_NF = targets_NF >= 0, targets_NF > 0
    if not labelled_NF.any():
        raise ValueError("no example labels any finding")
    predicted_NF = predicted_NF & labelled_NF
    both_F = np.sum(predicted_NF & present_NF, axis=0)
    either_F = np.sum(predicted_NF, axis=0) + np.sum(present_NF, axis=0)
    return {
        "examples": float(len(targets_NF)),
        "f1_micro": float(_f1(np.asarray(both_F.sum()), np.asarray(either_F.sum()))),
        "f1_macro": float(_f1(both_F, either_F)[labelled_NF.any(axis=0)].mean()),
        "exact_match": float((predicted_NF == present_NF).all(axis=1).mean()),
    }


def best_thresholds(probabilities_NF: np.ndarray, targets_NF: np.ndarray) -> np.ndarray:
    """Chooses for every finding the probability from which on it counts as present.

    Args:
      probabilities_NF: Probabilities on validation examples.
      targets_NF: 1 for present, 0 for absent, -1 for an example that does not label the finding.

    Returns:
      thresholds_F, float, halfway between two probabilities that occur; `probabilities >=
      thresholds` has the highest F1 for each finding, and the highest of equally good thresholds
      is chosen. A finding that no example has gets `NEVER`.
    """
    pairs = zip(np.asarray(probabilities_NF).T, np.asarray(targets_NF).T, strict=True)
    return np.array([_best_threshold(p_N[t_N >= 0], t_N[t_N >= 0] > 0) for p_N, t_N in pairs])


def constant_f1(train_NF: np.ndarray, test_NF: np.ndarray) -> float:
    """Computes the micro F1 of the best constant prediction, an image-blind baseline.

    Args:
      train_NF: Targets of training examples, which decide the prediction.
      test_NF: Targets of test examples.

    Returns:
      Micro F1 on the test examples of the set of findings that has the highest micro F1 on the
      training examples, if the whole set is predicted for every example.
    """
    labelled_F, present_F = np.sum(train_NF >= 0, axis=0), np.sum(train_NF > 0, axis=0)
    # The best set consists of the findings that are most often present where they are labelled.
    order = np.argsort(-present_F / np.maximum(labelled_F, 1), kind="stable")
    num_predicted = np.cumsum(labelled_F[order])
    f1_F = _f1(np.cumsum(present_F[order]), num_predicted + present_F.sum())
    chosen = order[: int(np.argmax(f1_F)) + 1]
    predicted_NF = np.zeros(test_NF.shape, bool)
    predicted_NF[:, chosen] = True
    return f1_report(predicted_NF, test_NF)["f1_micro"]


def _best_threshold(probabilities_N: np.ndarray, present_N: np.ndarray) -> float:
    if not present_N.any():
        return NEVER
    order = np.argsort(-probabilities_N, kind="stable")
    sorted_N, hits_N = probabilities_N[order], np.cumsum(present_N[order])
    f1_N = _f1(hits_N, np.arange(1, len(order) + 1) + present_N.sum())
    # Equal probabilities are predicted together: only the last of them can be a threshold.
    is_cut_N = np.append(sorted_N[1:] < sorted_N[:-1], True)
    last = int(np.argmax(np.where(is_cut_N, f1_N, -1.0)))
    following = sorted_N[last + 1] if last + 1 < len(order) else 0.0
    return float((np.float64(sorted_N[last]) + following) / 2)


def _f1(both: np.ndarray, either: np.ndarray) -> np.ndarray:
    """Returns 2 TP / (predicted + present), 0 where nothing is predicted or present."""
    return np.where(either > 0, 2.0 * both / np.maximum(either, 1), 0.0)
