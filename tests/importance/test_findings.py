"""What are layers worth to a client that finds diseases, alone or beside clients that answer?"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax import importance
from f3ocus_jax.models import base, units
from tests.helpers.oracles import dense_kernel, toy_batch, toy_model
from tests.helpers.scores import make_score

LAYERS, ANSWERS, FINDINGS, EXAMPLES = 3, 2, 3, 4
MODEL = toy_model(layers=LAYERS, width=4, answers=ANSWERS + FINDINGS)
PARAMS = jax.tree.map(lambda leaf: 0.5 * leaf, MODEL.init(jax.random.key(0)))


def questions():
    """A client that answers, in a federation that finds diseases, too."""
    batch = toy_batch(EXAMPLES, answers=ANSWERS)
    return batch.replace(targets_BF=np.full((EXAMPLES, FINDINGS), -1, np.int8))


def findings(seed=0):
    """A client that finds diseases; one target is not known."""
    targets_BF = np.random.default_rng(seed).integers(0, 2, (EXAMPLES, FINDINGS)).astype(np.int8)
    targets_BF[0, 1] = -1
    labels_B = np.full(EXAMPLES, -1, np.int32)
    return toy_batch(EXAMPLES).replace(labels_B=labels_B, targets_BF=targets_BF)


@functools.cache
def scorer(name):
    return jax.jit(make_score(name, MODEL))


def taken(name, batch):
    return scorer(name)(*units.split(PARAMS, "adapter"), batch, jax.random.key(3))


@pytest.mark.parametrize("name", importance.SCORES)
def test_every_score_works_on_findings(name):
    result = taken(name, findings())
    assert np.all(np.isfinite(result.values_L))
    np.testing.assert_allclose(np.sum(result.scores_L), 1.0, rtol=1e-5)
    assert len(set(np.asarray(result.values_L).tolist())) == LAYERS
    other = taken(name, findings(seed=1)).values_L
    is_blind = name in ("lntk", "random", "last", "magnitude", "synflow")
    assert np.array_equal(other, result.values_L) == is_blind


@pytest.mark.parametrize("batch", [questions(), findings()], ids=["answers", "findings"])
def test_lntk_is_that_of_the_outputs_that_are_asked_for(batch):
    """Against eigvalsh of the dense kernel without the rows of the other task's outputs."""
    frozen, rows_L, head = units.split(PARAMS, "adapter")

    def outputs(rows_L):
        return base.apply(MODEL, units.join(frozen, rows_L, head, "adapter"), batch)

    jacobian = jax.jit(jax.jacrev(outputs))(rows_L)
    is_question = np.asarray(batch.labels_B)[:, None] >= 0
    asked_BC = np.concatenate(
        [np.repeat(is_question, ANSWERS, 1), np.asarray(batch.targets_BF) >= 0], axis=1
    )
    expected = []
    for layer in range(LAYERS):
        one = jax.tree.map(lambda leaf, layer=layer: leaf[:, :, layer], jacobian)
        kernel = dense_kernel(one, asked_BC.size)[np.ix_(asked_BC.ravel(), asked_BC.ravel())]
        expected.append(np.linalg.eigvalsh(kernel)[-1])
    np.testing.assert_allclose(taken("lntk", batch).values_L, expected, rtol=1e-4)


def test_answers_alone_are_scored_as_without_a_head_for_findings():
    """The same network with its findings cut off gives a client that answers the same layers."""
    alone = toy_model(layers=LAYERS, width=4, answers=ANSWERS)
    head = jax.tree.map(lambda leaf: leaf[..., :ANSWERS], PARAMS["head"])
    cut = units.split({**PARAMS, "head": head}, "adapter")
    batch = questions()
    for name in ("lntk", "snip", "fishmask"):
        score = jax.jit(make_score(name, alone))
        expected = score(*cut, batch.replace(targets_BF=None), jax.random.key(3)).values_L
        np.testing.assert_allclose(taken(name, batch).values_L, expected, rtol=1e-4)


def test_padding_is_no_finding():
    batch = findings()
    padded = jax.tree.map(lambda leaf: np.concatenate([leaf, leaf[:2]]), batch)
    padded = padded.replace(example_mask_B=jnp.array([1.0] * EXAMPLES + [0.0] * 2))
    for name in ("lntk", "snip", "rgn"):
        expected = taken(name, batch).values_L
        np.testing.assert_allclose(taken(name, padded).values_L, expected, rtol=2e-4)
