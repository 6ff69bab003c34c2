"""Activations and their derivatives against JAX's own, and what they keep."""

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.models.blocks.activations import gelu

INPUTS = jnp.concatenate([jnp.linspace(-40, 40, 161), jnp.array([-5.5, -1e-4, 1e-4])])


def exact(inputs):
    return jax.nn.gelu(inputs, approximate=False)


def test_gelu_and_its_first_two_derivatives_equal_jax():
    for ours, known in ((gelu, exact), (jax.grad(gelu), jax.grad(exact))):
        np.testing.assert_allclose(jax.vmap(ours)(INPUTS), jax.vmap(known)(INPUTS), atol=1e-6)
    second = [jax.vmap(jax.grad(jax.grad(function)))(INPUTS) for function in (gelu, exact)]
    np.testing.assert_allclose(*second, atol=1e-6)


def test_gelu_keeps_one_array_for_the_backward_pass():
    _, derivative = jax.vjp(gelu, INPUTS)
    assert [leaf.shape for leaf in jax.tree.leaves(derivative)] == [INPUTS.shape]
    assert len(jax.tree.leaves(jax.vjp(exact, INPUTS)[1])) > 1


def test_gelu_keeps_the_dtype():
    assert gelu(INPUTS.astype(jnp.bfloat16)).dtype == jnp.bfloat16
