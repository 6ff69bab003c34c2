"""The kernels of `nnx` modules, against eigvalsh of the kernel from a dense Jacobian."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from f3ocus_jax.importance import layerwise_ntk_of

BATCH = jax.random.normal(jax.random.key(0), (5, 4))
PATHS = ("first", "blocks/0", "blocks/1")


class Block(nnx.Module):
    def __init__(self, width, rngs):
        self.map = nnx.Linear(width, width, rngs=rngs)
        self.norm = nnx.BatchNorm(width, use_running_average=True, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, deterministic=True, rngs=rngs)

    def __call__(self, hidden):
        return hidden + self.dropout(jnp.tanh(self.norm(self.map(hidden))))


class Network(nnx.Module):
    """Layers of two shapes, and a head that belongs to none of them."""

    def __init__(self, rngs):
        self.first = nnx.Linear(4, 6, rngs=rngs)
        self.blocks = nnx.List([Block(6, rngs) for _ in range(2)])
        self.head = nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, inputs, gate=1.0):
        hidden = jnp.tanh(self.first(inputs))
        for block in self.blocks:
            hidden = block(hidden)
        return gate * self.head(hidden)


def layer_of(path):
    """The layers of `PATHS`, as a function of a parameter's path."""
    if path[0] == "blocks":
        return 1 + path[1]
    return 0 if path[0] == "first" else None


def dense_spectra(module, paths=PATHS, batch=BATCH):
    """All eigenvalues of every layer's kernel in float64, descending."""
    graph, state, others = nnx.split(module, nnx.Param, ...)
    with jax.default_matmul_precision("highest"):
        jacobian = jax.jit(jax.jacrev(lambda state: nnx.merge(graph, state, others)(batch)))(state)
    spectra = []
    for prefix in paths:
        leaves = [
            np.asarray(variable.get_value(), np.float64).reshape(15, -1)
            for path, variable in nnx.to_flat_state(jacobian)
            if "/".join(map(str, path)).startswith(prefix)
        ]
        matrix = np.concatenate(leaves, axis=1)
        spectra.append(np.linalg.eigvalsh(matrix @ matrix.T)[::-1])
    return np.array(spectra)


@pytest.mark.parametrize("method", ["lanczos", "gram"])
@pytest.mark.parametrize("layers", [PATHS, layer_of], ids=["paths", "function"])
def test_layers_of_a_module_have_the_eigenvalues_of_the_dense_kernel(layers, method):
    module = Network(nnx.Rngs(0))
    found = layerwise_ntk_of(module, layers, BATCH, count=2, method=method, tolerance=1e-5)
    assert found.values_LM.dtype == jnp.float32
    np.testing.assert_allclose(found.values_LM, dense_spectra(module)[:, :2], rtol=1e-4)
    assert found.converged_LM.all()


def test_stacked_modules_are_layers_of_one_path():
    """Three blocks from `nnx.vmap`, which a scan runs; the dense Jacobian is sliced by layer."""

    @nnx.split_rngs(splits=3)
    @nnx.vmap
    def make_blocks(rngs):
        return nnx.Linear(4, 4, rngs=rngs)

    class Stack(nnx.Module):
        def __init__(self, rngs):
            self.blocks = make_blocks(rngs)

        def __call__(self, inputs):
            kernels_L, bias_L = self.blocks.kernel.get_value(), self.blocks.bias.get_value()

            def step(hidden, row):
                return hidden + jnp.tanh(hidden @ row[0] + row[1][None]), None

            return jax.lax.scan(step, inputs, (kernels_L, bias_L))[0]

    module = Stack(nnx.Rngs(1))
    graph, state = nnx.split(module)
    jacobian = jax.jit(jax.jacrev(lambda state: nnx.merge(graph, state)(BATCH)))(state)
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(jacobian)]
    expected = []
    for layer in range(3):
        rows = np.concatenate([leaf[:, :, layer].reshape(20, -1) for leaf in leaves], axis=1)
        expected.append(np.linalg.eigvalsh(rows @ rows.T)[-1])
    found = layerwise_ntk_of(module, "blocks", BATCH, tolerance=1e-5)
    np.testing.assert_allclose(found.values_LM[:, 0], expected, rtol=1e-4)


def test_a_tuple_is_the_arguments_of_the_module_and_jit_works():
    module = Network(nnx.Rngs(0))

    @jax.jit
    def values(gate):
        return layerwise_ntk_of(module, PATHS, (BATCH, gate), tolerance=1e-5).values_LM

    expected = 4 * dense_spectra(module)[:, :1]
    np.testing.assert_allclose(values(jnp.float32(2.0)), expected, rtol=1e-4)


def test_a_mask_leaves_examples_out():
    module, mask = Network(nnx.Rngs(0)), jnp.array([[1.0], [1], [1], [0], [0]])
    found = layerwise_ntk_of(module, PATHS, BATCH, mask=mask, tolerance=1e-5)
    short = layerwise_ntk_of(module, PATHS, BATCH[:3], tolerance=1e-5)
    np.testing.assert_allclose(found.values_LM, short.values_LM, rtol=1e-4)


def test_the_module_itself_does_not_change():
    """A dropout draws from its random state, which the module must keep."""
    module = Network(nnx.Rngs(0))
    module.train()
    before = jax.tree.map(jax.random.key_data, nnx.state(module, nnx.RngKey))
    counts = nnx.state(module, nnx.RngCount)
    layerwise_ntk_of(module, PATHS, BATCH)
    after = jax.tree.map(jax.random.key_data, nnx.state(module, nnx.RngKey))
    chex.assert_trees_all_equal(before, after)
    chex.assert_trees_all_equal(counts, nnx.state(module, nnx.RngCount))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["first", "tail"], "layer 'tail' has no parameters; the module has blocks/0/map/bias"),
        (
            ["blocks", "blocks/0"],
            "layer 'blocks' and layer 'blocks/0' share the parameter",
        ),
        (lambda path: 1, "layer 0 has no parameters"),
        (lambda path: None, "layer 0 has no parameters"),
        ("head", "stacked layers need one leading layer axis, they have head/bias"),
    ],
)
def test_impossible_layers_are_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        layerwise_ntk_of(Network(nnx.Rngs(0)), layers, BATCH)
