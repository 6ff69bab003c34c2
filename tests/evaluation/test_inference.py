import dataclasses

import jax
import numpy as np
import pytest

from f3ocus_jax.data.examples import concatenate_examples
from f3ocus_jax.evaluation import inference
from f3ocus_jax.models import base
from tests.helpers.oracles import toy_examples, toy_model


@pytest.mark.parametrize("placement", ["loop", "map", "pmap", "sharded"])
@pytest.mark.parametrize("count", [1, 8, 21])
def test_predictions_do_not_depend_on_batches_and_devices(placement, count, monkeypatch):
    monkeypatch.setattr(inference, "BATCHES_AT_ONCE", 2)
    model, split = toy_model(), toy_examples(count)
    params = model.init(jax.random.key(0))
    logits_NC = jax.jit(base.apply, static_argnums=0)(model, params, split.batch(np.arange(count)))
    predict = inference.make_predict(
        model, loss="cross_entropy", batch_size=4, placement_name=placement
    )
    losses_N, answers_N, findings_NF, texts_N = predict(params, split)
    assert findings_NF is None
    assert texts_N is None
    np.testing.assert_array_equal(answers_N, np.argmax(logits_NC, axis=-1))
    log_probability_NC = np.asarray(jax.nn.log_softmax(logits_NC))
    expected = [
        -log_probability_NC[place, label] if label >= 0 else 0.0
        for place, label in enumerate(split.labels_N)
    ]
    np.testing.assert_allclose(losses_N, expected, atol=1e-5)


def test_examples_behind_each_other_keep_their_order():
    first, second = toy_examples(2, seed=1), toy_examples(3, seed=2)
    both = concatenate_examples([first, second])
    assert len(both) == 5
    assert both.questions == first.questions + second.questions
    np.testing.assert_array_equal(both.images_NHWC[2:], second.images_NHWC)


def test_a_model_of_findings_alone_gives_no_answer():
    model, split = (
        toy_model(),
        dataclasses.replace(toy_examples(5), targets_NF=np.ones((5, 3), np.int8)),
    )
    params = model.init(jax.random.key(0))
    predict = inference.make_predict(
        model, loss="binary_cross_entropy", batch_size=4, placement_name="loop"
    )
    outputs = predict(params, split)
    assert outputs.answers_N is None
    logits_NC = np.asarray(base.apply(model, params, split.batch(np.arange(5))), np.float64)
    np.testing.assert_allclose(outputs.findings_NF, 1 / (1 + np.exp(-logits_NC)), rtol=1e-5)
