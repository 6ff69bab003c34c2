"""Costs of a run whose clients have different tasks."""

import functools
import types

import jax
import numpy as np

from f3ocus_jax.data.examples import ClientData, Examples
from f3ocus_jax.federation import costs
from f3ocus_jax.models import head as head_lib
from tests.helpers.configs import read_config
from tests.helpers.families import FAMILY_OF
from tests.helpers.models import tiny_batch, tiny_vilt
from tfds_medvqa.common.features import CLASSIFICATION, QUESTION_ANSWERING


def forward_flops(task, *, answers, findings):
    """Operations of a forward pass of one task's clients in a federation of both tasks."""
    spec = tiny_vilt()
    model, width = FAMILY_OF["vilt"].make_model(spec), spec.config.hidden_size
    params = jax.eval_shape(model.init, jax.random.key(0))
    heads = {head_lib.ANSWERS: answers, head_lib.FINDINGS: findings}
    params["head"] = {
        name: jax.eval_shape(
            functools.partial(head_lib.init, num_answers=classes, width=width), jax.random.key(1)
        )[head_lib.ANSWERS]
        for name, classes in heads.items()
    }
    batch, texts = tiny_batch(spec), [""] * 3
    examples = Examples(
        np.asarray(batch.images_BHWC),
        *(batch.input_ids_BT, batch.attention_mask_BT, batch.labels_B),
        *[texts] * 5,
    )
    foundation = types.SimpleNamespace(model=model, params=params)
    clients = [ClientData("clinic", examples, examples)]
    config = read_config("tiny")
    return costs.count_step_flops(foundation, clients, task, config).forward, width


def test_a_client_pays_for_the_head_of_its_own_task_alone():
    small, width = forward_flops(QUESTION_ANSWERING, answers=5, findings=4)
    assert forward_flops(QUESTION_ANSWERING, answers=5, findings=400)[0] == small
    assert forward_flops(CLASSIFICATION, answers=400, findings=5)[0] == small
    # 100 further answers: as many columns of a matrix of 2 · width rows, and a bias each.
    more = forward_flops(QUESTION_ANSWERING, answers=105, findings=4)[0] - small
    assert 100 * 2 * 2 * width <= more <= 100 * (2 * 2 * width + 2)
