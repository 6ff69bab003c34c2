"""The kernels of networks that are not this project's, and their edges."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax import importance
from f3ocus_jax.importance.methods import METHODS
from f3ocus_jax.importance.spectrum import make_eigenproblem
from tests.importance.token_network import (
    ANSWERS,
    EXAMPLES,
    HIDDEN,
    LAYERS,
    READOUT,
    ROWS_L,
    TOKENS,
    WIDTH,
    block,
    network,
    token_outputs,
)


def apply(rows_L, hidden):
    gate = jnp.ones(EXAMPLES)
    for layer in range(LAYERS):
        row = jax.tree.map(lambda leaf, layer=layer: leaf[layer], rows_L)
        hidden = block(row, {}, hidden, gate)
    return token_outputs(hidden)


def dense_spectra(rows_L=None, keep=slice(None)):
    """All eigenvalues of every layer's kernel in float64, descending, of the outputs to keep."""
    rows_L = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), rows_L or ROWS_L)
    jacobian = jax.jit(jax.jacrev(lambda rows_L: apply(rows_L, HIDDEN).reshape(-1)))(rows_L)
    spectra = []
    for layer in range(LAYERS):
        flat = [np.asarray(leaf[:, layer], np.float64) for leaf in jax.tree.leaves(jacobian)]
        matrix = np.concatenate([leaf.reshape(len(leaf), -1) for leaf in flat], axis=1)[keep]
        spectra.append(np.linalg.eigvalsh(matrix @ matrix.T)[::-1])
    return np.array(spectra)


def found(**settings):
    return jax.jit(lambda: importance.layerwise_ntk(network(), **settings))()


@pytest.mark.parametrize("method", METHODS)
def test_the_top_eigenvalues_and_their_vectors(method):
    spectrum = found(method=method, count=3, tolerance=1e-5)
    expected = dense_spectra()[:, :3]
    np.testing.assert_allclose(spectrum.values_LM, expected, rtol=1e-4)
    assert spectrum.converged_LM.all()
    vectors = spectrum.vectors_LMNC.reshape(LAYERS, 3, -1)
    inner = np.einsum("lmd,lkd->lmk", vectors, vectors)
    np.testing.assert_allclose(inner, np.tile(np.eye(3), (LAYERS, 1, 1)), atol=1e-3)


def test_an_estimated_error_ends_the_search_earlier():
    bound, estimate = (found(method="lanczos", accept=each) for each in ("residual", "estimate"))
    np.testing.assert_allclose(estimate.values_LM, dense_spectra()[:, :1], rtol=1e-4)
    assert (estimate.iterations_LM <= bound.iterations_LM).all()
    assert estimate.iterations_LM.sum() < bound.iterations_LM.sum()
    assert estimate.converged_LM.all()


@pytest.mark.parametrize("method", METHODS)
def test_masked_tokens_and_answers_do_not_count(method):
    """Outputs of another rank than two; the mask closes tokens, answers and one example."""
    mask = np.ones((EXAMPLES, TOKENS, ANSWERS), np.float32)
    mask[1, 3:], mask[2, :, 1], mask[3] = 0, 0, 0
    spectrum = found(method=method, mask=mask, tolerance=1e-5)
    expected = dense_spectra(keep=np.flatnonzero(mask))[:, :1]
    np.testing.assert_allclose(spectrum.values_LM, expected, rtol=1e-4)
    outside = np.asarray(spectrum.vectors_LMNC)[..., mask.reshape(EXAMPLES, -1) == 0]
    np.testing.assert_array_equal(outside, 0)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_mask_of_the_first_axes_holds_for_all_further_ones(axes):
    """Outputs of four axes, such as those of several frames."""
    outputs = jnp.zeros((EXAMPLES, TOKENS, 3, ANSWERS))
    mask = np.random.default_rng(0).integers(0, 2, outputs.shape[:axes])
    linearised = types.SimpleNamespace(outputs=outputs)
    made = make_eigenproblem(linearised, mask, 1, 1e-4, 64, None, None)
    expected = np.zeros(outputs.shape)
    for index in zip(*np.nonzero(mask), strict=True):
        expected[index] = 1
    np.testing.assert_array_equal(made.mask_NC, expected.reshape(EXAMPLES, -1))
    assert not made.starts_MNC[0][made.mask_NC == 0].any()


@pytest.mark.parametrize("method", METHODS)
def test_repeated_eigenvalues_are_found_as_often_as_they_occur(method):
    """Two examples that are the same but for the outputs' example axis give every value twice."""
    twice = HIDDEN[:2].at[1].set(HIDDEN[0])

    def lone(row, frozen_row, hidden, context):
        index = jnp.arange(2)[None] == context[:, None]
        return hidden + jnp.einsum("ntd,nk,kde->nte", hidden, index.astype(float), row["w"])

    rows_L = {"w": jnp.zeros((LAYERS, 2, WIDTH, WIDTH))}
    twins = importance.Network(lone, token_outputs, rows_L, {}, twice, jnp.arange(2))
    solve = functools.partial(importance.layerwise_ntk, twins, method=method, count=4)
    values_LM = jax.jit(lambda: solve(tolerance=1e-5).values_LM)()
    kernel = np.kron(np.asarray(HIDDEN[0] @ HIDDEN[0].T), np.asarray(READOUT.T @ READOUT))
    single = np.linalg.eigvalsh(kernel.astype(np.float64))[::-1][:2]
    np.testing.assert_allclose(values_LM, np.tile(np.repeat(single, 2), (LAYERS, 1)), rtol=1e-4)


@pytest.mark.parametrize("method", ["lanczos", "gram"])
def test_bfloat16_parameters_give_float32_kernels(method):
    rows_L = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), ROWS_L)
    solve = functools.partial(importance.layerwise_ntk, network(rows_L), method=method)
    values_LM = jax.jit(lambda: solve(tolerance=1e-5).values_LM)()
    assert values_LM.dtype == jnp.float32
    np.testing.assert_allclose(values_LM, dense_spectra(rows_L)[:, :1], rtol=1e-4)


@pytest.mark.parametrize("method", ["lanczos", "gram"])
def test_a_function_that_shows_nothing_of_its_inside(method):
    solve = functools.partial(importance.layerwise_ntk_of, apply, method=method, count=2)
    spectrum = jax.jit(lambda: solve(ROWS_L, HIDDEN, tolerance=1e-5))()
    np.testing.assert_allclose(spectrum.values_LM, dense_spectra()[:, :2], rtol=1e-4)


def test_a_good_start_takes_fewer_products_and_a_bad_one_still_finds_the_top():
    """A bad one is the second eigenvector itself, which only its fresh part leads away from."""

    @jax.jit
    def solve(warm, seed):
        key = jax.random.key(seed)
        return importance.layerwise_ntk(network(), method="lanczos", warm_LNC=warm, key=key)

    cold = solve(jnp.zeros((LAYERS, EXAMPLES, TOKENS * ANSWERS)), 1)
    warm = solve(cold.vectors_LMNC[:, 0], 1)
    assert warm.iterations_LM.sum() < cold.iterations_LM.sum()
    second = found(method="gram", count=2).vectors_LMNC[:, 1]
    for spectrum in (cold, warm, *(solve(second, seed) for seed in range(1, 11))):
        np.testing.assert_allclose(spectrum.values_LM, dense_spectra()[:, :1], rtol=1e-4)


def test_the_plan_follows_memory():
    plan = importance.make_plan(network(), memory_limit=2**30)
    assert plan.method == min(plan.flops, key=plan.flops.get)
    tight = importance.make_plan(network(), memory_limit=0)
    assert (tight.method, tight.vectors_at_once) == ("lanczos", 1)
    middle = (plan.bytes["lanczos"] + min(plan.bytes["gram"], plan.bytes["sweep"])) / 2
    assert importance.make_plan(network(), memory_limit=middle).method == "lanczos"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accept": "hope"}, "'hope' is unknown; choose residual, estimate"),
        ({"method": "magic"}, "'magic' is unknown; choose auto, gram, lanczos"),
        ({"count": 0}, "count is 0; it must be between 1 and 40"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        importance.layerwise_ntk(network(), **settings)


@pytest.mark.parametrize("memory_limit", [1.0, 2.0**30])
def test_the_trace_is_the_sum_of_all_eigenvalues(memory_limit):
    mask = np.ones((EXAMPLES, TOKENS, ANSWERS), np.float32)
    mask[1, 3:], mask[2, :, 1], mask[3] = 0, 0, 0
    for kept in (None, mask):
        keep = slice(None) if kept is None else np.flatnonzero(kept)
        trace = jax.jit(
            lambda kept=kept: importance.layerwise_trace(
                network(), mask=kept, memory_limit=memory_limit
            )
        )()
        np.testing.assert_allclose(trace, dense_spectra(keep=keep).sum(axis=1), rtol=1e-5)
