"""Answers to single questions, put into words from probabilities that are known."""

import dataclasses
import types

import jax
import numpy as np
import pytest

from f3ocus_jax.evaluation import answering, written_answers
from f3ocus_jax.evaluation.settings import EvaluationConfig
from f3ocus_jax.evaluation.written_answers import AnswerDecoder
from f3ocus_jax.models import base
from tests.helpers.oracles import toy_batch, toy_examples, toy_model

ANSWERS, FINDINGS = ("lung", "heart", "liver"), ("mass", "edema")
PROBABILITIES = np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])


def foundation(answers=ANSWERS, findings=(), model=None):
    """The parts of a foundation that answering uses."""
    return types.SimpleNamespace(
        model=model or toy_model(), answers=answers, findings=findings, tokenizer=None
    )


def describe(outputs, top=2):
    return answering.describe(outputs, foundation(findings=FINDINGS), np.array([0.4, 0.9]), top)


def test_the_likeliest_answers_come_first_and_as_many_as_asked_for():
    first, second = describe(answering.Outputs(None, PROBABILITIES, None))
    assert (first.text, first.probabilities) == ("heart", {"heart": 0.5, "liver": 0.3})
    assert list(first.probabilities) == ["heart", "liver"]
    assert (second.text, list(second.probabilities)) == ("lung", ["lung", "liver"])
    assert (first.findings, first.present) == ({}, ())
    assert describe(answering.Outputs(None, PROBABILITIES, None), top=0)[0].probabilities == {}


def test_a_written_answer_is_the_text_and_the_vocabulary_has_its_probabilities():
    first, second = describe(answering.Outputs(["left lung", "no"], PROBABILITIES, None))
    assert (first.text, second.text) == ("left lung", "no")
    assert next(iter(first.probabilities)) == "heart"
    assert [a.text for a in describe(answering.Outputs(["a", "b"], None, None))] == ["a", "b"]


def test_findings_are_present_from_their_own_threshold_on():
    outputs = answering.Outputs(None, None, np.array([[0.4, 0.8], [0.3, 0.9]]))
    first, second = describe(outputs)
    assert (first.text, first.findings, first.present) == (
        "",
        {"edema": 0.8, "mass": 0.4},
        ("mass",),
    )
    assert (list(second.findings), second.present) == (["edema", "mass"], ("edema",))


@pytest.mark.parametrize("findings", [0, 1, 3])
def test_a_head_gives_a_softmax_of_answers_and_a_sigmoid_of_each_finding(findings):
    """One finding, and three: all outputs of the toy model, which then has no answers."""
    model, batch = toy_model(), toy_batch(2)
    params = model.init(jax.random.key(0))
    logits_BC = np.asarray(base.apply(model, params, batch), np.float64)
    if findings:
        batch = dataclasses.replace(batch, targets_BF=np.ones((2, findings), np.int8))
    ask = answering.make_ask(foundation(ANSWERS[: 3 - findings], model=model), None)
    outputs = ask(params, batch, 1)
    assert outputs.texts is None
    powers_BC = np.exp(logits_BC[:, : 3 - findings])
    if findings == 3:
        assert outputs.answers_BC is None
    else:
        shares_BC = powers_BC / powers_BC.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(outputs.answers_BC, shares_BC, rtol=1e-5)
    if findings:
        expected_BF = 1 / (1 + np.exp(-logits_BC[:, 3 - findings :]))
        np.testing.assert_allclose(outputs.findings_BF, expected_BF, rtol=1e-5)
    else:
        assert outputs.findings_BF is None


class Words:
    """A tokenizer of whole answers: token n stands for the n-th of some texts."""

    def __init__(self, *texts):
        self.texts = texts

    def decode(self, ids_BA):
        return [self.texts[row[0]] for row in np.asarray(ids_BA)]


@dataclasses.dataclass(frozen=True)
class KnownDecoder(AnswerDecoder):
    """A decoder that chooses by the label of the example, not by the model."""

    def make_decode(self, generator):
        if self.is_ranked:
            return lambda params, batch: jax.nn.one_hot((batch.labels_B + 1) % 3, 3)
        return lambda params, batch: batch.labels_B[:, None]

    def answer_index(self, clients):
        lookup = {"lung": 0, "heart": 1}
        return types.SimpleNamespace(
            lookup_decoded=lambda texts: np.array([lookup.get(text, -1) for text in texts])
        )


@pytest.mark.parametrize("decoding", ["rank", "greedy", "beam"])
def test_an_answer_is_ranked_in_the_vocabulary_or_written_and_looked_up(decoding):
    model, split = dataclasses.replace(toy_model(), generator=object()), toy_examples(8)
    split = dataclasses.replace(split, labels_N=np.arange(8, dtype=np.int32) % 3)
    settings, tokenizer = EvaluationConfig(decoding=decoding), Words("lung", "heart", "a mass")
    decoder = KnownDecoder(settings, ANSWERS, tokenizer)
    predict = written_answers.make_written_predict(
        model, decoder, [], batch_size=4, placement_name="loop"
    )
    params = model.init(jax.random.key(0))
    outputs = predict(params, split)
    if decoding == "rank":
        chosen = (split.labels_N + 1) % 3
        texts = [ANSWERS[index] for index in chosen]
    else:
        chosen = np.where(split.labels_N == 2, -1, split.labels_N)
        texts = [tokenizer.texts[label] for label in split.labels_N]
    np.testing.assert_array_equal(outputs.answers_N, chosen)
    assert outputs.texts_N.tolist() == texts
    log_NC = jax.nn.log_softmax(base.apply(model, params, split.batch(np.arange(8))))
    expected = -np.asarray(log_NC)[np.arange(8), split.labels_N]
    np.testing.assert_allclose(outputs.losses_N, expected, atol=1e-5)
