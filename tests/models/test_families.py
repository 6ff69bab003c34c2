"""What every model family owes to the rest of the system."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from f3ocus_jax import models
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.models import FAMILIES, base, sizes
from f3ocus_jax.models.huggingface import directory as huggingface
from tests.helpers.families import CASES, FAMILY_OF, FURTHER, apply, made
from tests.helpers.models import TINY, random_params, tiny_batch, tiny_own, with_vocabulary

KEY_BIASES = {("key", "bias"), ("cross_key", "bias")}
KEYS = {"embeddings", "blocks", "adapters", "readout", "head"}


@pytest.fixture(params=CASES, ids="-".join)
def parts(request):
    return made(*request.param)


first_stacks = pytest.mark.parametrize(
    "parts",
    [
        pytest.param(case, id="-".join(case), marks=pytest.mark.extended if case in FURTHER else ())
        for case in CASES
    ],
    indirect=True,
)
"""Leaves the further stacks of a family to `make test-all`."""


def test_parameters_have_the_five_keys_and_rows_lead_with_the_layer_axis(parts):
    model, params, _ = parts
    assert params.keys() == KEYS
    for leaf in jax.tree.leaves((params["blocks"], params["adapters"])):
        assert leaf.shape[0] == model.num_layers
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


def test_logits_are_finite_and_one_per_answer(parts):
    model, params, batch = parts
    logits_BC = apply(model, params, batch)
    assert logits_BC.shape == (len(batch.labels_B), model.num_answers)
    assert logits_BC.dtype == jnp.float32
    assert np.isfinite(logits_BC).all()


def test_examples_do_not_influence_each_other(parts):
    model, params, batch = parts
    together = apply(model, params, batch)
    alone = apply(model, params, jax.tree.map(lambda leaf: leaf[1:2], batch))
    np.testing.assert_allclose(together[1:2], alone, atol=1e-5)


def key_biases(blocks):
    """Paths of the biases of attention keys."""
    return [path for path in traverse_util.flatten_dict(blocks) if path[-2:] in KEY_BIASES]


def block_gradients(model, params, batch):
    """Path to gradient of the sum of squared logits, for every parameter of the blocks."""

    @jax.jit
    def gradient(blocks):
        def total(blocks):
            return jnp.sum(jnp.square(base.apply(model, {**params, "blocks": blocks}, batch)))

        return jax.grad(total)(blocks)

    return traverse_util.flatten_dict(gradient(params["blocks"]))


def test_biases_of_rotated_keys_have_a_gradient():
    plain = TINY["llava"](selectable="language")
    text = dataclasses.replace(plain.config.text_config, attention_bias=True)
    config = dataclasses.replace(plain.config, text_config=text)
    spec = dataclasses.replace(plain, config=config)
    model, batch = FAMILIES["llava"].make_model(spec), tiny_batch(spec)
    params = random_params(model)

    gradients = block_gradients(model, params, batch)
    (path,) = key_biases(params["blocks"])
    size = np.linalg.norm(gradients[(*path[:-1], "kernel")])
    assert np.linalg.norm(gradients[path]) > 1e-4 * size > 0


@pytest.mark.extended
@first_stacks
def test_biases_of_keys_change_nothing_and_have_no_gradient(parts):
    model, params, batch = parts
    paths = key_biases(params["blocks"])
    if not paths:
        pytest.skip("Llama and T5 have no biases")
    flat = traverse_util.flatten_dict(params["blocks"])
    shifted = traverse_util.unflatten_dict(flat | {path: flat[path] + 3.0 for path in paths})
    moved = apply(model, {**params, "blocks": shifted}, batch)
    np.testing.assert_allclose(moved, apply(model, params, batch), atol=2e-4)

    gradients = block_gradients(model, params, batch)
    for path, leaf in gradients.items():
        assert np.any(leaf != 0) == (path not in paths), path


@first_stacks
def test_vmap_over_rows_of_clients_equals_one_client_after_the_other(parts):
    model, params, batch = parts
    clients = jax.tree.map(lambda leaf: jnp.stack([leaf, 1.5 * leaf]), params["adapters"])

    def logits(adapters):
        return apply(model, {**params, "adapters": adapters}, batch)

    together = jax.jit(jax.vmap(logits))(clients)
    for client, scale in enumerate((1.0, 1.5)):
        alone = logits(jax.tree.map(functools.partial(np.multiply, scale), params["adapters"]))
        np.testing.assert_allclose(together[client], alone, atol=1e-5)


@first_stacks
def test_derivatives_of_a_block_are_linear_and_each_others_transpose(parts):
    model, params, batch = parts
    hidden, context = jax.jit(model.embed)(params["embeddings"], batch)
    row = jax.tree.map(lambda leaf: leaf[0], (params["blocks"], params["adapters"]))
    tangents = jax.tree.map(np.cos, (row, hidden))

    @jax.jit
    def derivatives(row, hidden):
        def block(row, hidden):
            return model.block(*row, hidden, context)

        output, forward = jax.jvp(block, (row, hidden), tangents)
        _, linear = jax.linearize(block, row, hidden)
        backward = jax.vjp(block, row, hidden)[1](jnp.sin(output))
        return jnp.sin(output), forward, linear(*tangents), backward

    cotangent, forward, linear, backward = derivatives(row, hidden)
    np.testing.assert_allclose(linear, forward, rtol=1e-4, atol=1e-4)
    pairs = zip(jax.tree.leaves(backward), jax.tree.leaves(tangents), strict=True)
    inner = sum(np.vdot(gradient, tangent) for gradient, tangent in pairs)
    np.testing.assert_allclose(inner, np.vdot(cotangent, forward), rtol=1e-3)


@pytest.mark.parametrize("name", TINY)
def test_a_saved_model_loads_with_every_bit(name, tmp_path):
    family, tokenizer = FAMILY_OF[name], load_tokenizer(prompt=FAMILY_OF[name].prompt)
    spec = with_vocabulary(TINY[name](), tokenizer.vocabulary_size)
    params, answers = random_params(family.make_model(spec)), [f"answer {n}" for n in range(5)]
    huggingface.save(tmp_path, spec, params, answers, tokenizer)
    weights = huggingface.load(tmp_path, key=jax.random.key(0))
    assert (weights.spec, weights.answers) == (spec, tuple(answers))
    chex.assert_trees_all_equal(weights.params, params)


@pytest.mark.parametrize("name", models.TINY)
def test_the_tiny_sizes_of_a_family_are_sizes_of_its_config(name):
    family, variant = FAMILIES[models.TINY[name][0]], models.TINY[name][1]
    sizes.check_names(family.config, family.tiny[variant](32), "tiny")
    assert tiny_own(name).config.image_size == 16
