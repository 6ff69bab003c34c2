import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax import importance
from f3ocus_jax.models import base, trainable
from tests.oracles import dense_kernel, toy_batch, toy_model

UNITS = ("adapter", "block")


def layer_kernels(model, params, batch, unit):
    """Dense Θ_l of every layer, and the dense kernel of all layers together, in float64."""
    frozen, rows_L, head = trainable.split(params, unit)

    def outputs(rows_L):
        return base.apply(model, trainable.join(frozen, rows_L, head, unit), batch)

    jacobian = jax.jacrev(outputs)(rows_L)
    size = model.num_answers * len(batch.labels_B)
    layers = [
        dense_kernel(jax.tree.map(lambda leaf, layer=layer: leaf[:, :, layer], jacobian), size)
        for layer in range(model.num_layers)
    ]
    return layers, dense_kernel(jacobian, size)


def scored(model, params, batch, unit, *, tolerance=1e-5, max_iterations=40):
    score = importance.SCORES["lntk"](
        model, unit=unit, tolerance=tolerance, max_iterations=max_iterations
    )
    return jax.jit(score)(*trainable.split(params, unit), batch, jax.random.key(3))


@pytest.mark.parametrize("unit", UNITS)
def test_lntk_agrees_with_eigvalsh_of_the_dense_kernel(unit):
    model, batch = toy_model(layers=4), toy_batch(6)
    params = model.init(jax.random.key(0))
    kernels, _ = layer_kernels(model, params, batch, unit)
    result = scored(model, params, batch, unit)
    expected = [np.linalg.eigvalsh(kernel)[-1] for kernel in kernels]
    np.testing.assert_allclose(result.values_L, expected, rtol=1e-4)
    np.testing.assert_allclose(result.scores_L, expected / np.sum(expected), rtol=1e-4)
    assert np.all(result.residuals_L <= 1e-5)


@pytest.mark.parametrize("unit", UNITS)
def test_layer_kernels_sum_to_the_full_kernel(unit):
    model, batch = toy_model(layers=3), toy_batch(4)
    params = model.init(jax.random.key(1))
    kernels, full = layer_kernels(model, params, batch, unit)
    np.testing.assert_allclose(sum(kernels), full, rtol=1e-5, atol=1e-8)


def test_kernel_product_agrees_with_the_dense_kernel():
    model, batch = toy_model(layers=3), toy_batch(4)
    params = model.init(jax.random.key(1))
    kernels, full = layer_kernels(model, params, batch, "block")
    frozen, rows_L, head = trainable.split(params, "block")
    vector_NC = jax.random.normal(jax.random.key(2), (4, 3))

    @jax.jit
    def products(rows_L):
        network = importance.lntk._Linearised(model, "block", frozen, rows_L, head, batch)
        return jax.lax.map(lambda layer: network.kernel_product(layer)(vector_NC), jnp.arange(3))

    products_LNC = np.asarray(products(rows_L))
    for kernel, product_NC in zip(kernels, products_LNC, strict=True):
        np.testing.assert_allclose(
            product_NC.reshape(-1), kernel @ vector_NC.reshape(-1), rtol=2e-4
        )
    total = products_LNC.sum(axis=0).reshape(-1)
    np.testing.assert_allclose(total, full @ np.asarray(vector_NC).reshape(-1), rtol=2e-4)


def test_padded_examples_do_not_count():
    model, batch = toy_model(), toy_batch(6)
    params = model.init(jax.random.key(0))
    padded = batch.replace(example_mask_B=np.array([1, 1, 1, 1, 0, 0], np.float32))
    short = jax.tree.map(lambda leaf: leaf[:4], batch)
    expected = scored(model, params, short, "block").values_L
    np.testing.assert_allclose(scored(model, params, padded, "block").values_L, expected, rtol=1e-5)


def test_dead_layer_has_no_importance():
    model, batch = toy_model(), toy_batch(4)
    params = model.init(jax.random.key(0))
    params["adapters"] = jax.tree.map(lambda leaf: leaf.at[2].set(0.0), params["adapters"])
    result = scored(model, params, batch, "adapter")
    assert result.values_L[2] == 0
    assert result.residuals_L[2] == 0
    assert np.isclose(np.sum(result.scores_L), 1.0)


def test_scores_of_a_network_without_any_gradient_are_uniform():
    model, batch = toy_model(), toy_batch(4)
    params = model.init(jax.random.key(0))
    params["head"] = jax.tree.map(jnp.zeros_like, params["head"])
    result = scored(model, params, batch, "block")
    np.testing.assert_array_equal(result.scores_L, np.full(4, 0.25, np.float32))


@pytest.mark.parametrize(("examples", "answers"), [(1, 1), (1, 3), (5, 1)])
def test_single_examples_and_single_answers(examples, answers):
    model, batch = toy_model(answers=answers), toy_batch(examples, answers=answers)
    params = model.init(jax.random.key(0))
    kernels, _ = layer_kernels(model, params, batch, "block")
    expected = [np.linalg.eigvalsh(kernel)[-1] for kernel in kernels]
    np.testing.assert_allclose(scored(model, params, batch, "block").values_L, expected, rtol=1e-4)


def test_unconverged_eigenvalues_are_reported():
    model, batch = toy_model(), toy_batch(6)
    params = model.init(jax.random.key(0))
    result = scored(model, params, batch, "block", tolerance=1e-7, max_iterations=2)
    assert np.all(result.iterations_L == 2)
    assert np.any(result.residuals_L > 1e-7)
