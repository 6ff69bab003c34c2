import jax
import numpy as np
import pytest

from f3ocus_jax.data.examples import Examples, concatenate_examples
from f3ocus_jax.evaluation import inference
from f3ocus_jax.models import base
from tests.helpers.oracles import toy_batch, toy_model


def examples(count, seed=0):
    batch = toy_batch(count, seed=seed)
    text = [f"{seed} {place}" for place in range(count)]
    return Examples(
        batch.images_BHWC,
        batch.input_ids_BT,
        batch.attention_mask_BT,
        np.where(np.arange(count) % 3 == 0, -1, batch.labels_B).astype(np.int32),
        *(text,) * 5,
    )


@pytest.mark.parametrize("placement", ["loop", "map", "pmap", "sharded"])
@pytest.mark.parametrize("count", [1, 8, 21])
def test_predictions_do_not_depend_on_batches_and_devices(placement, count, monkeypatch):
    monkeypatch.setattr(inference, "BATCHES_AT_ONCE", 2)
    model, split = toy_model(), examples(count)
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
    first, second = examples(2, seed=1), examples(3, seed=2)
    both = concatenate_examples([first, second])
    assert len(both) == 5
    assert both.questions == first.questions + second.questions
    np.testing.assert_array_equal(both.images_NHWC[2:], second.images_NHWC)
