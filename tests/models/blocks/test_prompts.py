"""Does a prompt run as further tokens in front of the stack, in every family?"""

import dataclasses
import functools
import operator

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.models import FAMILIES
from f3ocus_jax.models.blocks import layers, prompts
from tests.helpers.families import CASES, FAMILY_OF, FURTHER, TINY, apply
from tests.helpers.marking import marked
from tests.helpers.models import random_params, tiny_batch, tiny_vilt

TOKENS = 3
EXTENDED = {case for case in CASES if case[0] not in ("blip2-t5", "vilt")} - set(FURTHER)


@functools.cache
def made(name, stack):
    spec = TINY[name](selectable=stack)
    plain = FAMILY_OF[name].make_model(spec)
    params, batch = random_params(plain), tiny_batch(spec)
    width = spec.stack.width
    model = prompts.make_prompted_model(plain, tokens=TOKENS, width=width)
    tokens_PD = np.random.default_rng(1).normal(0, 1, (TOKENS, width)).astype(np.float32)
    return plain, params, model, prompts.add_prompt(params, tokens_PD), batch


@pytest.mark.parametrize(("name", "stack"), marked(CASES, FURTHER, extended=EXTENDED))
def test_a_prompt_changes_the_answers_and_a_hidden_one_would_not(name, stack):
    """Oracle: blocks run one by one on longer inputs; a context that hides the prompt undoes it."""
    plain, params, model, wrapped, batch = made(name, stack)
    found = apply(model, wrapped, batch)
    assert found.shape == (3, plain.num_answers)
    assert model.num_layers == 1
    depth, blocks = plain.num_layers, operator.itemgetter("blocks", "adapters")

    @jax.jit
    def by_hand(params, tokens_PD):
        hidden, context = plain.embed(params["embeddings"], batch)
        prompt_BPD = jnp.stack([tokens_PD] * len(hidden))
        longer = jnp.concatenate([prompt_BPD, hidden], axis=1)
        extended = plain.extend(context, TOKENS)
        rows = [jax.tree.map(operator.itemgetter(i), blocks(params)) for i in range(depth)]
        moved = plain.block(*rows[0], longer, extended)[:, TOKENS:]
        moved -= plain.block(*rows[0], hidden, context)
        for row in rows:
            longer = plain.block(*row, longer, extended)
        read = plain.readout(params["readout"], params["head"], longer[:, TOKENS:], context)
        return read, jnp.max(jnp.abs(moved))

    read, moved = by_hand(params, wrapped["adapters"]["tokens"][0])
    np.testing.assert_allclose(found, read, atol=1e-5)
    assert moved > 1e-3


def test_every_token_sees_the_prompt_and_padding_stays_hidden():
    mask_BT = jnp.array([[1, 1, 0]])
    bias = layers.prepend_visible(layers.padding_bias(mask_BT), 2)
    np.testing.assert_array_equal(bias[0, 0, 0] == 0, [True, True, True, True, False])


def test_unwrap_undoes_wrap_and_fresh_parameters_have_the_same_shape():
    _, params, model, wrapped, _ = made("vilt", "blocks")
    plain, tokens_PD = prompts.remove_prompt(wrapped)
    chex.assert_trees_all_equal(plain, params)
    assert tokens_PD.shape == (TOKENS, 16)
    fresh = jax.eval_shape(model.init, jax.random.key(0))
    assert jax.tree.map(np.shape, fresh) == jax.tree.map(np.shape, wrapped)


def test_a_model_without_room_for_tokens_is_refused():
    closed = dataclasses.replace(FAMILIES["vilt"].make_model(tiny_vilt()), extend=None)
    with pytest.raises(ValueError, match="take no further tokens"):
        prompts.make_prompted_model(closed, tokens=1, width=16)
