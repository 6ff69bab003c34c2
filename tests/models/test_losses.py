"""Losses against NumPy in float64, and at their edges."""

import jax
import numpy as np
import pytest

from f3ocus_jax.models.losses import (
    LOSSES,
    binary_cross_entropy,
    cross_entropy,
    make_loss,
    masked_mean,
    weights,
)
from tests.helpers.models import tiny_batch, tiny_vilt

LOGITS_BC = np.random.default_rng(0).normal(0, 3, (4, 5)).astype(np.float32)
LABELS_B = np.array([0, 4, 2, -1], np.int32)


def numpy_cross_entropy(logits_BC, labels_B):
    logits_BC = logits_BC.astype(np.float64)
    log_sum_B = np.log(np.exp(logits_BC).sum(axis=1))
    right_B = logits_BC[np.arange(len(labels_B)), labels_B]
    return np.where(labels_B < 0, 0.0, log_sum_B - right_B)


def numpy_binary_cross_entropy(logits_BC, labels_B):
    probability_BC = 1 / (1 + np.exp(-logits_BC.astype(np.float64)))
    targets_BC = labels_B[:, None] == np.arange(logits_BC.shape[1])
    loss_BC = -np.log(np.where(targets_BC, probability_BC, 1 - probability_BC))
    return np.where(labels_B < 0, 0.0, loss_BC.sum(axis=1))


ORACLES = {
    "binary_cross_entropy": numpy_binary_cross_entropy,
    "cross_entropy": numpy_cross_entropy,
}


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_loss_equals_numpy_in_float64(name):
    loss_B = jax.jit(LOSSES[name])(LOGITS_BC, LABELS_B)
    assert loss_B.dtype == np.float32
    np.testing.assert_allclose(loss_B, ORACLES[name](LOGITS_BC, LABELS_B), rtol=1e-5)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_an_unknown_answer_has_no_loss_and_no_gradient(name):
    gradient_BC = jax.grad(lambda logits: LOSSES[name](logits, LABELS_B).sum())(LOGITS_BC)
    assert LOSSES[name](LOGITS_BC, LABELS_B)[3] == 0
    np.testing.assert_array_equal(gradient_BC[3], np.zeros(5))
    assert np.abs(gradient_BC[:3]).min() > 0


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_huge_logits_give_finite_losses_and_gradients(name):
    logits_BC = np.array([[1e4, -1e4, 0.0]], np.float32)
    labels_B = np.array([1], np.int32)
    value, gradient = jax.value_and_grad(lambda z: LOSSES[name](z, labels_B).sum())(logits_BC)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_masked_mean_counts_neither_padding_nor_unknown_answers():
    batch = tiny_batch(tiny_vilt(), examples=4).replace(
        labels_B=np.array([0, 1, -1, 2], np.int32),
        example_mask_B=np.array([1, 1, 1, 0], np.float32),
    )
    loss_B = np.array([1.0, 3.0, 0.0, np.nan], np.float32)
    assert masked_mean(loss_B, batch) == 2.0


def test_masked_mean_of_nothing_is_zero_with_zero_gradient():
    batch = tiny_batch(tiny_vilt(), examples=4).replace(example_mask_B=np.zeros(4, np.float32))

    def objective(logits_BC):
        return masked_mean(cross_entropy(logits_BC, LABELS_B), batch)

    value, gradient = jax.value_and_grad(objective)(LOGITS_BC)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros_like(LOGITS_BC))


def test_binary_cross_entropy_of_undecided_logits_is_log_two_per_answer():
    loss_B = binary_cross_entropy(np.zeros((1, 7), np.float32), np.array([3], np.int32))
    np.testing.assert_allclose(loss_B, [7 * np.log(2)], rtol=1e-6)


def numpy_findings_loss(logits_BF, targets_BF):
    losses = []
    for logits_F, targets_F in zip(logits_BF.astype(np.float64), targets_BF, strict=True):
        terms = [
            np.log1p(np.exp(-logit if target else logit))
            for logit, target in zip(logits_F, targets_F, strict=True)
            if target >= 0
        ]
        losses.append(np.mean(terms) if terms else 0.0)
    return np.array(losses)


TARGETS_BF = np.array([[1, 0], [-1, -1], [0, -1], [-1, -1]], np.int8)
"""The first and third example are asked about findings, the second for its answer."""


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_loss_of_a_mixed_batch_is_each_example_s_own(name):
    labels_B = np.array([-1, 2, -1, -1], np.int32)
    batch = tiny_batch(tiny_vilt(), examples=4).replace(labels_B=labels_B, targets_BF=TARGETS_BF)
    loss_B = make_loss(name)(LOGITS_BC, batch)
    expected = numpy_findings_loss(LOGITS_BC[:, 3:], TARGETS_BF)
    expected[1] = LOSSES[name](LOGITS_BC[1:2, :3], labels_B[1:2])[0]
    np.testing.assert_allclose(loss_B, expected, rtol=1e-6)
    np.testing.assert_array_equal(weights(batch), [1, 1, 1, 0])

    slope_BC = np.asarray(jax.grad(lambda logits: make_loss(name)(logits, batch).sum())(LOGITS_BC))
    is_asked_BC = np.array([[0, 0, 0, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 1, 0], [0] * 5], bool)
    np.testing.assert_array_equal(slope_BC != 0, is_asked_BC)


def test_a_model_without_answers_has_the_loss_of_findings_alone():
    batch = tiny_batch(tiny_vilt(), examples=4)
    batch = batch.replace(labels_B=np.full(4, -1, np.int32), targets_BF=TARGETS_BF)
    logits_BF = LOGITS_BC[:, :2]
    expected = numpy_findings_loss(logits_BF, TARGETS_BF)
    np.testing.assert_allclose(make_loss("cross_entropy")(logits_BF, batch), expected, rtol=1e-6)
