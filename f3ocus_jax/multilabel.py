"""How good are findings that may occur together, and above which score is one present?"""

import numpy as np


def f1_report(present_NC: np.ndarray, targets_NC: np.ndarray) -> dict[str, float]:
    """Scores multi-label classification (F³OCUS, section 4: F1 for tasks 4 to 6).

    Args:
      present_NC: bool, findings that are predicted.
      targets_NC: 0 or 1, findings that are there.

    Returns:
      `f1_micro` (over all pairs of example and finding), `f1_macro` (mean of the findings' own),
      `exact_match` (share of examples with all findings right) and `examples`; in [0, 1] but the
      last. A finding that is neither predicted nor there has F1 0 and counts in the mean, as
      scikit-learn's `f1_score(zero_division=0)` has it.

    Raises:
      ValueError: if there are no examples or the shapes differ.
    """
    present_NC, targets_NC = np.asarray(present_NC, bool), np.asarray(targets_NC, bool)
    if present_NC.shape != targets_NC.shape or present_NC.ndim != 2 or not len(targets_NC):
        raise ValueError(
            f"predictions of shape {present_NC.shape} and targets of shape {targets_NC.shape}; "
            "give two of [examples, findings] with at least one example"
        )
    both_C = np.sum(present_NC & targets_NC, axis=0)
    either_C = np.sum(present_NC, axis=0) + np.sum(targets_NC, axis=0)
    return {
        "examples": float(len(targets_NC)),
        "f1_micro": float(_f1(both_C.sum(), either_C.sum())),
        "f1_macro": float(_f1(both_C, either_C).mean()),
        "exact_match": float((present_NC == targets_NC).all(axis=1).mean()),
    }


def best_thresholds(scores_NC: np.ndarray, targets_NC: np.ndarray) -> np.ndarray:
    """Chooses for every finding the score from which on it counts as present.

    Args:
      scores_NC: float, on validation examples; the higher, the likelier the finding.
      targets_NC: 0 or 1.

    Returns:
      thresholds_C, float, halfway between two scores that occur; `scores >= thresholds` has the
      highest F1 for each finding, and of equally good ones the highest threshold is taken. A
      finding that no example has gets infinity.
    """
    targets_NC = np.asarray(targets_NC, bool)
    return np.array(
        [
            _best(scores_N, there_N)
            for scores_N, there_N in zip(scores_NC.T, targets_NC.T, strict=True)
        ]
    )


def _best(scores_N: np.ndarray, there_N: np.ndarray) -> float:
    if not there_N.any():
        return np.inf
    order = np.argsort(-scores_N, kind="stable")
    sorted_N, hits_N = scores_N[order], np.cumsum(there_N[order])
    f1_N = _f1(hits_N, np.arange(1, len(order) + 1) + there_N.sum())
    # Equal scores are predicted together: only the last of them is a place to cut.
    is_cut_N = np.append(sorted_N[1:] < sorted_N[:-1], True)
    last = int(np.argmax(np.where(is_cut_N, f1_N, -1.0)))
    following = sorted_N[last + 1] if last + 1 < len(order) else sorted_N[last] - 1.0
    return float((sorted_N[last] + following) / 2)


def _f1(both: np.ndarray, either: np.ndarray) -> np.ndarray:
    """2 TP / (predicted + there), 0 where nothing is predicted or there."""
    return np.where(either > 0, 2.0 * both / np.maximum(either, 1), 0.0)
