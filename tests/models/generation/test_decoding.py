"""Answers that are written: with and without caches, finished early, and ranked."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.models import base, family_of, losses
from f3ocus_jax.models.generation import decoding as decoding_lib
from tests.helpers.marking import marked
from tests.helpers.models import (
    random_params,
    tiny_albef,
    tiny_batch,
    tiny_blip,
    tiny_blip2,
    tiny_llava,
    tiny_smolvlm,
)

LENGTH = 3
CASES = {
    "blip": tiny_blip,
    "blip-vision": functools.partial(tiny_blip, selectable="vision"),
    "albef-text": functools.partial(tiny_albef, selectable="text"),
    "blip2-opt": functools.partial(tiny_blip2, "opt"),
    "blip2-opt-vision": functools.partial(tiny_blip2, "opt", selectable="vision"),
    "blip2-t5": functools.partial(tiny_blip2, "t5"),
    "blip2-llama-qformer": functools.partial(tiny_blip2, "llama", selectable="qformer"),
    "llava": tiny_llava,
    "llava-vision": functools.partial(tiny_llava, selectable="vision"),
    "smolvlm": tiny_smolvlm,
    "smolvlm-tied": functools.partial(tiny_smolvlm, tie_word_embeddings=True),
}

EXTENDED = {"blip-vision", "albef-text", "blip2-opt", "blip2-t5", "llava"}
SLOW = {"blip2-opt-vision", "blip2-llama-qformer", "llava-vision", "smolvlm", "smolvlm-tied"}
"""Their language models and stacks are those of others here, in another pair."""


@functools.cache
def model_of(name):
    """A model that writes, its parameters and questions, shared by the tests."""
    spec = CASES[name](answering="generate")
    model = family_of(spec).make_model(spec)
    batch = tiny_batch(spec, examples=3, tokens=6)
    image_token = getattr(spec.config, "image_token", -1)
    ids_BT = np.where(batch.input_ids_BT == image_token, 5, batch.input_ids_BT)
    if image_token >= 0:
        ids_BT[:, 0] = image_token
    params = jax.tree_util.tree_map_with_path(_livelier, random_params(model))
    return model, params, batch.replace(input_ids_BT=ids_BT)


def _livelier(path, leaf):
    """Scales a parameter: large biases and small maps write the same token over and over."""
    name = jax.tree_util.keystr(path)
    return leaf * (0.1 if "bias" in name else 2 if "word" in name or "position" in name else 4)


def with_answers(batch, ids_BA, mask_BA=None):
    mask_BA = np.ones_like(ids_BA) if mask_BA is None else mask_BA
    return batch.replace(answer_ids_BA=ids_BA, answer_mask_BA=mask_BA)


def ending(model, end):
    """The same model with another token at the end of an answer."""
    return dataclasses.replace(model, generator=dataclasses.replace(model.generator, end_token=end))


@pytest.mark.parametrize("name", marked(CASES, SLOW, extended=EXTENDED))
def test_what_is_written_with_a_cache_is_likeliest_without_one(name):
    model, params, batch = model_of(name)
    model = ending(model, -1)
    ids_BA = np.asarray(
        jax.jit(decoding_lib.make_greedy_search(model.generator, LENGTH))(params, batch)
    )
    logits_BAV = jax.jit(base.apply, static_argnums=0)(model, params, with_answers(batch, ids_BA))
    assert logits_BAV.shape[:2] == ids_BA.shape == (3, LENGTH)
    np.testing.assert_array_equal(ids_BA, np.argmax(logits_BAV, axis=-1))
    assert len(np.unique(ids_BA)) > 1

    answers_CA = np.concatenate([ids_BA, (ids_BA + 1) % 39])
    mask_CA = np.tri(LENGTH, dtype=np.int32)[[2, 1, 0, 2, 1, 0]]
    ranked_BC = jax.jit(decoding_lib.make_ranking(model.generator, answers_CA, mask_CA))(
        params, batch
    )
    for answer in (1, 3):
        rows = (np.repeat(part[answer][None], 3, axis=0) for part in (answers_CA, mask_CA))
        asked = with_answers(batch, *rows)
        logits_BAV = jax.jit(base.apply, static_argnums=0)(model, params, asked)
        one_B = losses.log_likelihood(logits_BAV, asked.answer_ids_BA, asked.answer_mask_BA)
        np.testing.assert_allclose(ranked_BC[:, answer], one_B, rtol=1e-4, atol=1e-4)


@pytest.mark.extended
def test_a_finished_answer_is_padded_and_the_others_go_on():
    model, params, batch = model_of("blip")
    free_BA = np.asarray(
        decoding_lib.make_greedy_search(ending(model, -1).generator, 6)(params, batch)
    )
    end = int(free_BA[0, 1])
    ids_BA = np.asarray(
        decoding_lib.make_greedy_search(ending(model, end).generator, 6)(params, batch)
    )
    for free_A, ids_A in zip(free_BA, ids_BA, strict=True):
        stop = np.flatnonzero(free_A == end)[0] + 1 if end in free_A else 6
        np.testing.assert_array_equal(ids_A[:stop], free_A[:stop])
        np.testing.assert_array_equal(ids_A[stop:], model.generator.padding_token)


@pytest.mark.extended
def test_one_beam_is_greedy_and_all_beams_find_the_likeliest():
    model, params, batch = model_of("blip")
    model = ending(model, -1)
    greedy_BA = decoding_lib.make_greedy_search(model.generator, 2)(params, batch)
    np.testing.assert_array_equal(
        decoding_lib.make_beam_search(model.generator, 2, 1)(params, batch), greedy_BA
    )
    every_CA = np.stack(np.meshgrid(np.arange(40), np.arange(40), indexing="ij"), -1)
    every_CA = every_CA.reshape(-1, 2).astype(np.int32)
    ranked_BC = decoding_lib.make_ranking(model.generator, every_CA, np.ones_like(every_CA))(
        params, batch
    )
    found_BA = jax.jit(decoding_lib.make_beam_search(model.generator, 2, 20))(params, batch)
    np.testing.assert_array_equal(found_BA, every_CA[np.argmax(ranked_BC, axis=1)])


@pytest.mark.extended
def test_padding_of_an_answer_teaches_nothing():
    model, params, batch = model_of("llava")
    ids_BA = np.full((3, LENGTH), 7, np.int32)
    mask_BA = np.array([[1, 1, 0]] * 3, np.int32)

    def scores(ids_BA):
        return base.apply(model, params, with_answers(batch, ids_BA, mask_BA))

    first, second = scores(ids_BA), scores(np.where(mask_BA, ids_BA, 9))
    np.testing.assert_array_equal(first, second)
    assert not np.any(np.asarray(first)[:, 2])
    assert np.all(jnp.any(first[:, :2] != 0, axis=-1))


def test_a_batch_without_answers_cannot_be_taught():
    model, params, batch = model_of("blip")
    with pytest.raises(ValueError, match="the batch has no answer_ids_BA"):
        base.apply(model, params, batch)
