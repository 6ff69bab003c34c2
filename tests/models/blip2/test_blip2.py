"""BLIP-2 in bfloat16: every stack keeps it, with every language model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.models import FAMILIES, base
from tests.helpers.models import TINY_LANGUAGES, random_params, tiny_batch, tiny_blip2

FAMILY = FAMILIES["blip2"]


def narrowed(params):
    """The same parameters, those of the foundation model in bfloat16."""
    kept = {name: params[name] for name in ("adapters", "head")}
    narrow = {name: params[name] for name in params if name not in kept}
    return {**jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), narrow), **kept}


@pytest.mark.parametrize("stack", FAMILY.stacks)
@pytest.mark.parametrize("language", TINY_LANGUAGES)
def test_a_bfloat16_model_keeps_its_dtype(language, stack):
    spec = tiny_blip2(language, selectable=stack)
    model, batch = FAMILY.make_model(spec), tiny_batch(spec)
    params = jax.eval_shape(lambda: narrowed(random_params(model)))

    def first_block(params):
        hidden, context = model.embed(params["embeddings"], batch)
        row = jax.tree.map(lambda leaf: leaf[0], (params["blocks"], params["adapters"]))
        return hidden, model.block(*row, hidden, context)

    hidden, output = jax.eval_shape(first_block, params)
    assert hidden.dtype == output.dtype == jnp.bfloat16
    logits_BC = jax.eval_shape(functools.partial(base.apply, model), params, batch)
    assert logits_BC.dtype == jnp.float32


@pytest.mark.parametrize("language", TINY_LANGUAGES)
def test_a_bfloat16_model_is_near_the_float32_one(language):
    spec = tiny_blip2(language)
    model, batch = FAMILY.make_model(spec), tiny_batch(spec)
    params, apply = random_params(model), jax.jit(base.apply, static_argnums=0)
    wide_BC = apply(model, params, batch)
    narrow_BC = apply(model, narrowed(params), batch)
    assert np.any(np.asarray(narrow_BC) != wide_BC)
    np.testing.assert_allclose(narrow_BC, wide_BC, atol=0.1 * np.abs(wide_BC).max())
