import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.importance import linearised_network, network as network_lib
from f3ocus_jax.importance.methods import METHODS
from f3ocus_jax.models import base, units
from tests.helpers.families import made
from tests.helpers.marking import marked
from tests.helpers.oracles import dense_kernel, toy_batch, toy_model
from tests.helpers.scores import make_score

UNITS = ("adapter", "block")
LOSS = "cross_entropy"


def layer_kernels(model, params, batch, unit, read=network_lib.read_logits):
    """Dense Θ_l of every layer, and the dense kernel of all layers together, in float64."""
    frozen, rows_L, head = units.split(params, unit)

    def outputs(rows_L):
        joined = units.join(frozen, rows_L, head, unit)
        return read(base.apply(model, joined, batch), batch).reshape(-1)

    jacobian = jax.jit(jax.jacrev(outputs))(rows_L)
    size = jax.tree.leaves(jacobian)[0].shape[0]
    layers = [
        dense_kernel(jax.tree.map(lambda leaf, layer=layer: leaf[:, layer], jacobian), size)
        for layer in range(model.num_layers)
    ]
    return layers, dense_kernel(jacobian, size)


def largest(kernels):
    return np.array([np.linalg.eigvalsh(kernel)[-1] for kernel in kernels])


def scored(model, params, batch, unit, **settings):
    score = make_score("lntk", model, unit=unit, **settings)
    return jax.jit(score)(*units.split(params, unit), batch, jax.random.key(3))


@functools.cache
def toy(answers=3):
    model = toy_model(layers=4, answers=answers)
    return model, model.init(jax.random.key(0))


@pytest.mark.parametrize(
    ("unit", "memory_limit"), marked([("adapter", 0), ("block", 2**30)], extended=[("adapter", 0)])
)
@pytest.mark.parametrize("kernel", ["outputs", "loss"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_agrees_with_eigvalsh_of_the_dense_kernel(method, kernel, unit, memory_limit):
    (model, params), batch = toy(), toy_batch(6)
    read = network_lib.read_logits if kernel == "outputs" else network_lib.make_loss_readout(LOSS)
    expected = largest(layer_kernels(model, params, batch, unit, read)[0])
    settings = {"method": method, "kernel": kernel, "memory_limit": memory_limit}
    result = scored(model, params, batch, unit, **settings)
    np.testing.assert_allclose(result.values_L, expected, rtol=1e-4)
    np.testing.assert_allclose(result.scores_L, expected / np.sum(expected), rtol=1e-4)
    assert np.all(result.residuals_L <= 1e-5)


@pytest.mark.extended
@pytest.mark.parametrize("unit", UNITS)
def test_layers_of_a_smolvlm_have_the_eigenvalues_of_the_dense_kernel(unit):
    model, params, batch = made("smolvlm", "language")
    expected = largest(layer_kernels(model, params, batch, unit)[0])
    result = scored(model, params, batch, unit)
    np.testing.assert_allclose(result.values_L, expected, rtol=1e-4)
    np.testing.assert_allclose(result.scores_L, expected / np.sum(expected), rtol=1e-4)


@pytest.mark.parametrize("unit", UNITS)
def test_layer_kernels_sum_to_the_full_kernel(unit):
    (model, params), batch = toy(), toy_batch(4)
    kernels, full = layer_kernels(model, params, batch, unit)
    np.testing.assert_allclose(sum(kernels), full, rtol=1e-5, atol=1e-8)


def test_kernel_product_agrees_with_the_dense_kernel():
    (model, params), batch = toy(), toy_batch(4)
    kernels, full = layer_kernels(model, params, batch, "block")
    parts = units.split(params, "block")
    vector_NC = jax.random.normal(jax.random.key(2), (4, 3))

    @jax.jit
    def products():
        network = network_lib.make_network(
            model, "block", *parts, batch, read=network_lib.read_logits
        )
        derivatives = linearised_network.LinearisedNetwork(network)
        return jax.lax.map(
            lambda layer: derivatives.kernel_product(layer)(vector_NC), jnp.arange(4)
        )

    products_LNC = np.asarray(products())
    for kernel, product_NC in zip(kernels, products_LNC, strict=True):
        np.testing.assert_allclose(
            product_NC.reshape(-1), kernel @ vector_NC.reshape(-1), rtol=2e-4
        )
    total = products_LNC.sum(axis=0).reshape(-1)
    np.testing.assert_allclose(total, full @ np.asarray(vector_NC).reshape(-1), rtol=2e-4)


@pytest.mark.parametrize(
    ("method", "kernel"), [("lanczos", "outputs"), ("sweep", "outputs"), ("gram", "loss")]
)
def test_padded_examples_do_not_count(method, kernel):
    (model, params), batch = toy(), toy_batch(6)
    settings = {"method": method, "kernel": kernel}
    padded = batch.replace(example_mask_B=np.array([1, 1, 1, 1, 0, 0], np.float32))
    short = jax.tree.map(lambda leaf: leaf[:4], batch)
    expected = scored(model, params, short, "block", **settings).values_L
    values_L = scored(model, params, padded, "block", **settings).values_L
    np.testing.assert_allclose(values_L, expected, rtol=1e-5)


def test_the_loss_of_an_answer_outside_the_vocabulary_does_not_count():
    (model, params), batch = toy(), toy_batch(6)
    unknown = batch.replace(labels_B=np.where(np.arange(6) < 4, batch.labels_B, -1))
    short = jax.tree.map(lambda leaf: leaf[:4], batch)
    expected = scored(model, params, short, "block", kernel="loss").values_L
    values_L = scored(model, params, unknown, "block", kernel="loss").values_L
    np.testing.assert_allclose(values_L, expected, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_dead_layer_has_no_importance(method):
    (model, params), batch = toy(), toy_batch(4)
    dead = jax.tree.map(lambda leaf: leaf.at[2].set(0.0), params["adapters"])
    result = scored(model, {**params, "adapters": dead}, batch, "adapter", method=method)
    assert result.values_L[2] == 0
    assert result.residuals_L[2] == 0
    assert np.isclose(np.sum(result.scores_L), 1.0)


def test_scores_of_a_network_without_any_gradient_are_uniform():
    (model, params), batch = toy(), toy_batch(4)
    silent = {**params, "head": jax.tree.map(jnp.zeros_like, params["head"])}
    result = scored(model, silent, batch, "block")
    np.testing.assert_array_equal(result.scores_L, np.full(4, 0.25, np.float32))


@pytest.mark.parametrize("method", ["lanczos", "gram"])
@pytest.mark.parametrize(("examples", "answers"), [(1, 1), (5, 1)])
def test_single_examples_and_single_answers(examples, answers, method):
    (model, params), batch = toy(answers), toy_batch(examples, answers=answers)
    expected = largest(layer_kernels(model, params, batch, "block")[0])
    values_L = scored(model, params, batch, "block", method=method).values_L
    np.testing.assert_allclose(values_L, expected, rtol=1e-4)


def test_unconverged_eigenvalues_are_reported():
    (model, params), batch = toy(), toy_batch(6)
    settings = {"method": "lanczos", "tolerance": 1e-7, "max_iterations": 2}
    result = scored(model, params, batch, "block", **settings)
    assert np.all(result.iterations_L == 2)
    assert np.any(result.residuals_L > 1e-7)
