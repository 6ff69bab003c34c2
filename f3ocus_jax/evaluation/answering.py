"""Answers of a model to single questions, with probabilities and findings."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from f3ocus_jax.evaluation.decodings import make_rank
from f3ocus_jax.evaluation.written_answers import AnswerDecoder
from f3ocus_jax.models import base, head
from f3ocus_jax.models.foundation import Foundation
from f3ocus_jax.types import Batch, Params


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a model says of one image and question.

    Attributes:
      text: Normalised answer, the likeliest of the run's vocabulary or the one that the model
        wrote; "" for a model that only tells findings.
      probabilities: Maps the likeliest answers of the vocabulary to their probabilities, the
        likeliest first. A model that writes gives each answer the probability of writing it, so
        they need not sum to 1.
      findings: Maps each finding to its probability, the most probable first; empty for a model
        that only answers questions.
      present: Findings whose probability reaches their threshold, in the same order.
    """

    text: str = ""
    probabilities: dict[str, float] = dataclasses.field(default_factory=dict)
    findings: dict[str, float] = dataclasses.field(default_factory=dict)
    present: tuple[str, ...] = ()


class Outputs(NamedTuple):
    """What a model says of B examples.

    Attributes:
      texts: Written answers; None where the likeliest of the vocabulary is meant.
      answers_BC: float32, probability of each answer; None if not asked for.
      findings_BF: float32, probability of each finding; None for a model without findings.
    """

    texts: list[str] | None
    answers_BC: np.ndarray | None
    findings_BF: np.ndarray | None


Ask = Callable[[Params, Batch, int], Outputs]
"""(parameters, batch, answers whose probability is wanted) -> Outputs."""


def make_ask(foundation: Foundation, decoding: AnswerDecoder | None) -> Ask:
    """Makes the function that lets a model answer a batch; compiles once per batch size.

    Args:
      foundation: Model, its answers and its findings.
      decoding: Choice of written answers; None for a model with an answer head.
    """
    return _make_classify(foundation) if decoding is None else _make_write(foundation, decoding)


def describe(
    outputs: Outputs, foundation: Foundation, thresholds_F: np.ndarray, top: int
) -> list[Answer]:
    """Puts a model's outputs into words.

    Args:
      outputs: Outputs for B examples.
      foundation: Model, its answers and its findings.
      thresholds_F: Probability from which on each finding counts as present.
      top: Number of answers to give with their probabilities.

    Returns:
      B answers.
    """
    count = len(next(part for part in outputs if part is not None))
    answers = []
    for example in range(count):
        text, probabilities = "", {}
        if outputs.answers_BC is not None:
            ranked = _ranked(foundation.answers, outputs.answers_BC[example])
            text, probabilities = next(iter(ranked)), dict(list(ranked.items())[:top])
        if outputs.texts is not None:
            text = outputs.texts[example]
        findings: dict[str, float] = {}
        present: tuple[str, ...] = ()
        if outputs.findings_BF is not None:
            findings_F = outputs.findings_BF[example]
            findings, present = find(findings_F, foundation.findings, thresholds_F)
        answers.append(Answer(text, probabilities, findings, present))
    return answers


def find(
    probabilities_F: np.ndarray, names: Sequence[str], thresholds_F: np.ndarray
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Ranks findings and chooses those that are present.

    Args:
      probabilities_F: Probability of each finding.
      names: Their names.
      thresholds_F: Probability from which on each counts as present.

    Returns:
      (finding to probability, the most probable first; the present ones in the same order).
    """
    ranked = _ranked(names, probabilities_F)
    reached = dict(zip(names, probabilities_F >= thresholds_F, strict=True))
    return ranked, tuple(name for name in ranked if reached[name])


def _ranked(names: Sequence[str], probabilities_C: np.ndarray) -> dict[str, float]:
    order = np.argsort(-probabilities_C, kind="stable")
    return {names[index]: float(probabilities_C[index]) for index in order}


def _make_classify(foundation: Foundation) -> Ask:
    @jax.jit
    def classify(params: Params, batch: Batch) -> tuple[jax.Array | None, jax.Array | None]:
        answers_BC, findings_BF = head.split(base.apply(foundation.model, params, batch), batch)
        return (
            jax.nn.softmax(answers_BC) if foundation.answers else None,
            None if findings_BF is None else jax.nn.sigmoid(findings_BF),
        )

    def ask(params: Params, batch: Batch, top: int) -> Outputs:
        return Outputs(None, *jax.device_get(classify(params, batch)))

    return ask


def _make_write(foundation: Foundation, decoding: AnswerDecoder) -> Ask:
    generator = foundation.model.generator
    if generator is None:
        raise ValueError("this model has an answer head and writes nothing")
    rank = jax.jit(make_rank(generator, decoding.tokenizer, decoding.vocabulary))
    write = jax.jit(decoding.make_decode(generator))
    is_ranked = decoding.is_ranked

    def ask(params: Params, batch: Batch, top: int) -> Outputs:
        answers_BC = np.exp(rank(params, batch)) if top or is_ranked else None
        texts = None if is_ranked else decoding.tokenizer.decode(write(params, batch))
        return Outputs(texts, answers_BC, None)

    return ask
