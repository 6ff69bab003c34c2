"""How near are generated answers to the right ones, word by word?"""

import collections
import re
from collections.abc import Sequence

from nltk.translate import bleu_score

from tfds_medvqa.common.answers import normalise


def report(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Scores generated answers.

    Args:
      answers: generated, one per question.
      references: the right ones.

    Returns:
      `exact_match` after normalising, `token_f1` (mean over questions; Rajpurkar et al., 2016) and
      `bleu1` (mean over questions of unigram BLEU with its brevity penalty; Papineni et al., 2002,
      taken per answer as ImageCLEF's VQA-Med does), fractions in [0, 1].

    Raises:
      ValueError: if there are none, or their numbers differ.
    """
    if len(answers) != len(references) or not references:
        raise ValueError(
            f"{len(answers)} answers and {len(references)} references; give one each, and any"
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
    """Harmonic mean of the shares of words that the other text has too, repeats counted.

    Two texts without any word agree.
    """
    given, right = words(answer), words(reference)
    if not given or not right:
        return float(given == right)
    common = (collections.Counter(given) & collections.Counter(right)).total()
    return 2.0 * common / (len(given) + len(right))


def bleu1(answer: str, reference: str) -> float:
    """Share of the answer's words that the reference has, less for an answer that is too short."""
    given, right = words(answer), words(reference)
    if not given or not right:
        return float(given == right)
    return float(bleu_score.sentence_bleu([right], given, weights=(1.0,)))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
