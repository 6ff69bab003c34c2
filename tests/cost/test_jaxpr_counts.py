"""Operations counted from a jaxpr: equal to XLA's on unrolled code."""

import jax
import jax.numpy as jnp
import pytest

from f3ocus_jax.cost.jaxpr_counts import count_flops
from tests.helpers.xla import xla_flops


def test_matrix_products_agree_with_xla():
    def function(x, y):
        return jnp.einsum("bij,bjk->bik", x, y) @ y[0].T

    args = (jnp.ones((3, 4, 5)), jnp.ones((3, 5, 6)))
    assert count_flops(function, *args) == xla_flops(function, *args)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_and_their_gradients_agree_with_xla(padding, stride, groups):
    def convolve(images_BHWC, kernel_HWIO):
        return jax.lax.conv_general_dilated(
            images_BHWC,
            kernel_HWIO,
            (stride, stride),
            padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    args = (jnp.ones((2, 9, 7, 4)), jnp.ones((3, 2, 4 // groups, 6)))
    assert count_flops(convolve, *args) == xla_flops(convolve, *args)

    def gradients(images_BHWC, kernel_HWIO):
        outputs, pullback = jax.vjp(convolve, images_BHWC, kernel_HWIO)
        return pullback(outputs)

    assert count_flops(gradients, *args) == xla_flops(gradients, *args)


def test_a_scan_counts_its_body_once_per_step():
    weights = jnp.ones((7, 8, 8))

    def scanned(x):
        return jax.lax.scan(lambda carry, weight: (carry @ weight, None), x, weights)[0]

    def unrolled(x):
        for weight in weights:
            x = x @ weight
        return x

    x = jnp.ones((2, 8))
    assert count_flops(scanned, x) == xla_flops(unrolled, x)


def test_a_loop_of_known_length_counts_and_one_of_unknown_length_is_refused():
    x = jnp.ones((8, 8))
    known = count_flops(lambda x: jax.lax.fori_loop(0, 5, lambda _, y: y @ x, x), x)
    assert known == 5 * 2 * 8**3
    with pytest.raises(ValueError, match=r"use jax\.lax\.scan"):
        count_flops(lambda n: jax.lax.fori_loop(0, n, lambda _, y: y @ x, x), 5)


def test_a_while_loop_without_matrix_products_is_free():
    assert count_flops(lambda n: jax.lax.fori_loop(0, n, lambda _, y: y + 1, 0), 5) == 0


def test_a_cond_counts_its_dearest_branch():
    x = jnp.ones((8, 8))

    def function(flag):
        return jax.lax.cond(flag, lambda: x @ x @ x, lambda: x)

    assert count_flops(function, True) == 2 * 2 * 8**3


def test_wrapped_functions_count_like_the_plain_one():
    @jax.custom_vjp
    def custom_vjp(x):
        return x @ x

    custom_vjp.defvjp(lambda x: (x @ x, x), lambda x, cotangent: (cotangent @ x,))

    @jax.custom_jvp
    def custom_jvp(x):
        return x @ x

    custom_jvp.defjvp(lambda primals, tangents: (primals[0] @ primals[0], tangents[0]))
    x = jnp.ones((8, 8))
    for function in (custom_vjp, custom_jvp, jax.jit(custom_vjp), jax.checkpoint(custom_vjp)):
        assert count_flops(function, x) == 2 * 8**3
    assert count_flops(jax.vmap(custom_vjp), jnp.ones((3, 8, 8))) == 3 * 2 * 8**3


def test_rematerialisation_counts_the_second_forward_pass():
    def gradient(function):
        return jax.grad(lambda x: function(x).sum())

    def product(x):
        return jnp.sin(x @ x)

    x = jnp.ones((8, 8))
    plain = count_flops(gradient(product), x)
    assert count_flops(gradient(jax.checkpoint(product)), x) == plain + 2 * 8**3
