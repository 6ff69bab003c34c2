"""Word overlap of generated answers with the right ones: exact match, token F1 and BLEU-1."""

import collections
import re
from collections.abc import Sequence

from tfds_medvqa.common.answers import normalise


def report(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Computes the metrics of generated answers.

    Args:
      answers: Generated answers, one per question.
      references: Right answers.

    Returns:
      `exact_match` after normalising, `token_f1` (mean over questions; Rajpurkar et al., 2016) and
      `bleu1` (mean over questions of unigram BLEU with its brevity penalty; Papineni et al., 2002,
      taken per answer as ImageCLEF's VQA-Med does), fractions in [0, 1].

    Raises:
      ValueError: if there are no answers, or their numbers differ.
    """
    if len(answers) != len(references) or not references:
        raise ValueError(
            f"{len(answers)} answers and {len(references)} references; give as many answers as "
            "references, at least 1"
        )
    pairs = list(zip(answers, references, strict=True))
    return {
        "exact_match": _mean([float(normalise(a) == normalise(r)) for a, r in pairs]),
        "token_f1": _mean([token_f1(answer, reference) for answer, reference in pairs]),
        "bleu1": _mean([bleu1(answer, reference) for answer, reference in pairs]),
    }


def words(text: str) -> list[str]:
    """Returns the words of a normalised text, without punctuation.

    >>> words("Left lung, (two) nodules.")
    ['left', 'lung', '2', 'nodules']
    """
    return re.findall(r"\w+", normalise(text))


def token_f1(answer: str, reference: str) -> float:
    """Computes the harmonic mean of word precision and recall, with repetitions.

    Two texts without any word agree.
    """
    given, right = words(answer), words(reference)
    if not given or not right:
        return float(given == right)
    common = (collections.Counter(given) & collections.Counter(right)).total()
    return 2.0 * common / (len(given) + len(right))


def bleu1(answer: str, reference: str) -> float:
    """Computes unigram BLEU: word precision with a penalty for short answers."""
    given, right = words(answer), words(reference)
    if not given or not right:
        return float(given == right)
    from nltk.translate import bleu_score  # Slow to import, and few runs write answers.

    return float(bleu_score.sentence_bleu([right], given, weights=(1.0,)))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
