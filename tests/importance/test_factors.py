import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.importance import factors

ROW = {
    "kernel": (4, 3, 2),
    "bias": (6,),
    "scale": (4,),
    "tied": (4, 4),
    "left": (5, 4),
}


def draw(seed, **shapes):
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    return {
        name: jax.random.normal(key, shape)
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def block(row, hidden_TD):
    """Weights of three axes, weights on the left, and ones that are used twice or not as a map."""
    scaled = hidden_TD * row["scale"][None]
    tied = jnp.tanh(scaled @ row["tied"]) @ row["tied"].T
    mapped = jnp.einsum("td,dhf->thf", tied, row["kernel"]).reshape(len(hidden_TD), 6)
    left = jax.jit(lambda weights, tied: jnp.tanh(weights @ tied.T).T)(row["left"], tied)
    return jnp.concatenate([mapped + row["bias"][None], left], axis=1)


@pytest.mark.parametrize("explicit", [True, False])
def test_gram_matrix_from_factors_is_that_of_the_gradients(explicit):
    row = draw(0, **ROW)
    hidden, cotangents = draw(1, hidden=(3, 7, 4), cotangents=(3, 2, 7, 11)).values()

    def of_example(hidden_TD, cotangents_C):
        return factors.factor_gradients(lambda row: block(row, hidden_TD), row, cotangents_C)

    def gradients(hidden_TD, cotangents_C):
        _, pull = jax.vjp(lambda row: block(row, hidden_TD), row)
        leaves = jax.tree.leaves(jax.vmap(lambda cotangent: pull(cotangent)[0])(cotangents_C))
        return jnp.concatenate([leaf.reshape(2, -1) for leaf in leaves], axis=1)

    found = jax.jit(jax.vmap(of_example))(hidden, cotangents)
    assert [inputs.shape[2] for inputs in found.activations] == [4, 4]
    assert found.others_CP.shape[2] == 6 + 4 + 16
    others = found.others_CP.reshape(6, -1)
    total = others @ others.T
    for pair in zip(found.activations, found.output_gradients, strict=True):
        total += factors.gram_of_linear_map(*pair, explicit=explicit)
    jacobian = np.asarray(jax.vmap(gradients)(hidden, cotangents), np.float64).reshape(6, -1)
    expected = jacobian @ jacobian.T
    np.testing.assert_allclose(total, expected, rtol=1e-5, atol=1e-6 * np.max(expected))
