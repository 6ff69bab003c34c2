"""How good are findings that may occur together, and above which score is one present?

A target of -1 is a finding that nobody asked about: it counts nowhere.
"""

import numpy as np

NEVER = 2.0
"""The threshold of a finding that is never called present: above any probability."""


def f1_report(present_NF: np.ndarray, targets_NF: np.ndarray) -> dict[str, float]:
    """Scores multi-label classification (F³OCUS, section 4: F1 for tasks 4 to 6).

    Args:
      present_NF: bool, findings that are predicted.
      targets_NF: 1 for a finding that is there, 0 for one that is not, -1 for one not asked about.

    Returns:
      `f1_micro` (over all pairs of example and finding), `f1_macro` (mean of the findings' own),
      `exact_match` (share of examples with all findings right) and `examples`; in [0, 1] but the
      last. A finding that is neither predicted nor there has F1 0 and counts in the mean, as
      scikit-learn's `f1_score(zero_division=0)` has it; one never asked about does not.

    Raises:
      ValueError: if there are no examples, the shapes differ, or nothing was asked.
    """
    present_NF, targets_NF = np.asarray(present_NF, bool), np.asarray(targets_NF)
    if present_NF.shape != targets_NF.shape or present_NF.ndim != 2 or not len(targets_NF):
        raise ValueError(
            f"predictions of shape {present_NF.shape} and targets of shape {targets_NF.shape}; "
            "give two of [examples, findings] with at least one example"
        )
    asked_NF, there_NF = targets_NF >= 0, targets_NF > 0
    if not asked_NF.any():
        raise ValueError("no example is asked about any finding")
    present_NF = present_NF & asked_NF
    both_F = np.sum(present_NF & there_NF, axis=0)
    either_F = np.sum(present_NF, axis=0) + np.sum(there_NF, axis=0)
    return {
        "examples": float(len(targets_NF)),
        "f1_micro": float(_f1(both_F.sum(), either_F.sum())),
        "f1_macro": float(_f1(both_F, either_F)[asked_NF.any(axis=0)].mean()),
        "exact_match": float((present_NF == there_NF).all(axis=1).mean()),
    }


def best_thresholds(scores_NF: np.ndarray, targets_NF: np.ndarray) -> np.ndarray:
    """Chooses for every finding the score from which on it counts as present.

    Args:
      scores_NF: probabilities on validation examples.
      targets_NF: 1, 0, or -1 for an example that does not count for a finding.

    Returns:
      thresholds_F, float, halfway between two scores that occur; `scores >= thresholds` has the
      highest F1 for each finding, and of equally good ones the highest threshold is taken. A
      finding that no example has gets `NEVER`.
    """
    pairs = zip(np.asarray(scores_NF).T, np.asarray(targets_NF).T, strict=True)
    return np.array([_best(s_N[t_N >= 0], t_N[t_N >= 0] > 0) for s_N, t_N in pairs])


def constant_f1(train_NF: np.ndarray, test_NF: np.ndarray) -> float:
    """Scores the best that can be said of every example alike: the bar for looking at any.

    Args:
      train_NF: targets of training examples, which decide what is said.
      test_NF: targets of test examples.

    Returns:
      Micro F1 on the test examples of the set of findings that has the highest micro F1 on the
      training examples, if each of them is said to have all of the set.
    """
    asked_F, there_F = np.sum(train_NF >= 0, axis=0), np.sum(train_NF > 0, axis=0)
    # The best set holds the findings that are most often there where they are asked about.
    order = np.argsort(-there_F / np.maximum(asked_F, 1), kind="stable")
    said = np.cumsum(asked_F[order])
    f1_F = _f1(np.cumsum(there_F[order]), said + there_F.sum())
    chosen = order[: int(np.argmax(f1_F)) + 1]
    present_NF = np.zeros(test_NF.shape, bool)
    present_NF[:, chosen] = True
    return f1_report(present_NF, test_NF)["f1_micro"]


def _best(scores_N: np.ndarray, there_N: np.ndarray) -> float:
    if not there_N.any():
        return NEVER
    order = np.argsort(-scores_N, kind="stable")
    sorted_N, hits_N = scores_N[order], np.cumsum(there_N[order])
    f1_N = _f1(hits_N, np.arange(1, len(order) + 1) + there_N.sum())
    # Equal scores are predicted together: only the last of them is a place to cut.
    is_cut_N = np.append(sorted_N[1:] < sorted_N[:-1], True)
    last = int(np.argmax(np.where(is_cut_N, f1_N, -1.0)))
    following = sorted_N[last + 1] if last + 1 < len(order) else 0.0
    return float((np.float64(sorted_N[last]) + following) / 2)


def _f1(both: np.ndarray, either: np.ndarray) -> np.ndarray:
    """2 TP / (predicted + there), 0 where nothing is predicted or there."""
    return np.where(either > 0, 2.0 * both / np.maximum(either, 1), 0.0)
