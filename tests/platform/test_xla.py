"""Are the numbers right that a CPU's compiler gives for large arrays, which other tests lack?"""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax import _xla, importance
from tests.helpers.paths import REPOSITORY


def test_gradients_of_norms_under_vmap_are_right_for_large_arrays():
    _xla.check()


@pytest.mark.parametrize("method", ["sweep", "gram"])
def test_outputs_that_are_pulled_side_by_side_give_lanczos_s_eigenvalues(method):
    np.testing.assert_allclose(*values_by(method), rtol=1e-4)


@pytest.mark.extended
def test_so_they_do_without_the_flags_that_make_tests_compile_faster():
    call = "test_outputs_that_are_pulled_side_by_side_give_lanczos_s_eigenvalues(name)"
    process = run(
        "", f"from tests.platform.test_xla import *\nfor name in ('sweep', 'gram'): {call}"
    )
    assert process.returncode == 0, process.stderr


def values_by(method):
    """Eigenvalues by a method and by Lanczos.

    Three blocks with a norm in front, 32 outputs of 16 examples: 0.6 million numbers at once.
    """
    layers, width = 3, 64
    keys = jax.random.split(jax.random.key(0), 4)
    rows_L = {"map": width**-0.5 * jax.random.normal(keys[0], (layers, width, width))}
    hidden = jax.random.normal(keys[1], (16, 17, width))
    matrix = width**-0.5 * jax.random.normal(keys[2], (width, 32))

    def block(row, frozen_row, hidden, context):
        normed = hidden * jax.lax.rsqrt(jnp.mean(hidden**2, axis=-1, keepdims=True) + 1e-5)
        return hidden + jnp.tanh(normed @ row["map"])

    network = importance.Network(block, lambda h: jnp.mean(h, axis=1) @ matrix, rows_L, {}, hidden)
    return [
        jax.jit(lambda name=name: importance.layerwise_ntk(network, method=name).values_LM)()
        for name in (method, "lanczos")
    ]


CHECK = "from f3ocus_jax import _xla; _xla.check()"


def run(flags, code=CHECK):
    """Runs code in a process of its own, with these flags alone."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.extended
def test_the_package_sets_the_flag_and_a_compiler_without_it_is_found_out():
    assert run("").returncode == 0
    broken = run(f"{_xla.FLAG}=dot,reduce")
    if broken.returncode == 0:
        pytest.skip("this version of jaxlib adds up rightly, whatever the flag")
    assert "gradients are wrong by" in broken.stderr
    assert f"set XLA_FLAGS={_xla.WITHOUT_SUMS} before" in broken.stderr
