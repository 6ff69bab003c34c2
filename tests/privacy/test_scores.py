"""Noised scores: what one example can move, and how nearly it does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.importance import ScoreContext, layerwise_ntk
from f3ocus_jax.importance.network import Network, make_loss_readout, make_network
from f3ocus_jax.models import units
from f3ocus_jax.privacy import scores
from tests.helpers.oracles import toy_batch, toy_model

CLIP, LAYERS, EXAMPLES = 0.5, 3, 6


def network_of(gradients_NLP):
    """Examples n whose loss has the gradient gradients_NLP[n, l] in the parameters of layer l."""
    count, layers, size = gradients_NLP.shape

    def linear(row, frozen_row, hidden, context):
        own = jnp.einsum("nlp,l->np", context, frozen_row["which"])
        return hidden.at[:, 0].add(own @ row["w"])

    return Network(
        block=linear,
        readout=lambda hidden: hidden[:, 0],
        rows_L={"w": jnp.zeros((layers, size))},
        frozen_L={"which": jnp.eye(layers)},
        hidden=jnp.zeros((count, 1)),
        context=jnp.asarray(gradients_NLP, jnp.float32),
    )


@jax.jit
def eigenvalues(gradients_NLP, mask_N):
    network = network_of(gradients_NLP)
    return scores.largest_eigenvalues(scores.clipped_kernels(network, mask_N, CLIP))


def moved(gradients_NLP, index=0):
    """Change of all eigenvalues when one example is replaced by nothing."""
    everyone = np.ones(len(gradients_NLP), np.float32)
    without = everyone.copy()
    without[index] = 0
    return np.asarray(eigenvalues(gradients_NLP, everyone) - eigenvalues(gradients_NLP, without))


def adversarial(kind, draw):
    """Gradients [N, L, P] of data sets that are chosen to make one example count."""
    gradients = draw.normal(size=(EXAMPLES, LAYERS, 4)) * 10.0 ** draw.uniform(-2, 2)
    if kind == "aligned":  # all examples point the same way in every layer
        gradients[:] = gradients[0] * draw.uniform(0.1, 10, size=(EXAMPLES, 1, 1))
    if kind == "alone in a layer":
        gradients[1:, 0] = 0
        gradients[0, 1:] = 0
    if kind == "huge":
        gradients[0] *= 1e6
    if kind == "next to the clip":
        norms = np.linalg.norm(gradients.reshape(EXAMPLES, -1), axis=1)
        gradients *= (CLIP / norms * draw.choice([0.999, 1.001], EXAMPLES))[:, None, None]
    return gradients.astype(np.float32)


KINDS = ("random", "aligned", "alone in a layer", "huge", "next to the clip")


def test_an_example_moves_all_eigenvalues_together_by_at_most_the_squared_clip():
    """Weyl for each layer, and Σ_l |g_l|² <= C² over all: the L2 and even the L1 norm."""
    draw, largest = np.random.default_rng(0), 0.0
    for kind in KINDS * 8:
        change_L = moved(adversarial(kind, draw))
        assert change_L.min() >= -1e-5 * CLIP**2  # an example can only add
        assert np.sum(np.abs(change_L)) <= CLIP**2 * (1 + 1e-4)
        largest = max(largest, float(np.linalg.norm(change_L)))
    assert largest >= CLIP**2 * (1 - 1e-4)  # attained: less noise would be too little


def test_a_replaced_example_moves_them_by_at_most_root_two_as_far():
    draw = np.random.default_rng(1)
    everyone, largest = np.ones(EXAMPLES, np.float32), 0.0
    for _ in range(20):
        first = adversarial("alone in a layer", draw)
        second = first.copy()
        second[0] = np.roll(first[0], 1, axis=0)  # the same length, in another layer
        first[1:], second[1:] = 0, 0
        change_L = np.asarray(eigenvalues(first, everyone) - eigenvalues(second, everyone))
        largest = max(largest, float(np.linalg.norm(change_L)))
        assert np.linalg.norm(change_L) <= np.sqrt(2) * CLIP**2 * (1 + 1e-4)
    assert largest >= np.sqrt(2) * CLIP**2 * (1 - 1e-3)


def test_unclipped_kernels_would_break_the_bound():
    """The output of the plain kernel moves without limit, so that its noise could not be known."""
    gradients = adversarial("huge", np.random.default_rng(2))
    plain = layerwise_ntk(network_of(gradients)).values_LM[:, 0]
    rest = layerwise_ntk(network_of(gradients[1:])).values_LM[:, 0]
    assert np.max(plain - rest) > 1e3 * CLIP**2


def test_an_example_that_is_not_finite_counts_as_absent():
    gradients = adversarial("random", np.random.default_rng(3))
    broken, everyone = gradients.copy(), np.ones(EXAMPLES, np.float32)
    broken[2] = np.inf
    without = everyone.copy()
    without[2] = 0
    expected = eigenvalues(gradients, without)
    np.testing.assert_allclose(eigenvalues(broken, everyone), expected, rtol=1e-5)


def context(model):
    return ScoreContext(model, "adapter", "cross_entropy", None, "sum", 1)


@pytest.fixture(scope="module")
def case():
    model, batch = toy_model(layers=LAYERS), toy_batch(EXAMPLES)
    labels_B = np.array(batch.labels_B)
    labels_B[2] = -1
    return (
        model,
        units.split(model.init(jax.random.key(0)), "adapter"),
        batch.replace(labels_B=labels_B),
    )


def test_with_a_large_clip_and_no_noise_the_values_are_those_of_the_loss_kernel(case):
    model, params, batch = case
    score = scores.make_private_score(context(model), clip=1e3, noise_multiplier=1e-12)
    found = jax.jit(score)(*params, batch, jax.random.key(1))
    network = make_network(
        model, "adapter", *params, batch, read=make_loss_readout("cross_entropy")
    )
    expected = layerwise_ntk(network).values_LM[:, 0]
    np.testing.assert_allclose(found.values_L, expected, rtol=1e-4)
    np.testing.assert_allclose(found.scores_L, expected / expected.sum(), rtol=1e-4)
    assert not found.residuals_L.any()
    assert not found.iterations_L.any()
    assert found.converged_L.all()
    assert found.vectors_LNC is None


def test_the_noise_has_the_calibrated_size_and_values_are_never_negative(case):
    model, params, batch = case
    score = scores.make_private_score(context(model), clip=2.0, noise_multiplier=3.0)
    draw = jax.jit(jax.vmap(lambda key: score(*params, batch, key).values_L))
    values = np.asarray(draw(jax.random.split(jax.random.key(2), 3000)))
    assert values.min() == 0
    # The upper half of a Gaussian whose mean is small beside its deviation of 3 · 2².
    assert np.sqrt(np.mean(values**2) * 2) == pytest.approx(12.0, rel=0.06)
    assert abs(np.corrcoef(values, rowvar=False) - np.eye(LAYERS)).max() < 0.07
