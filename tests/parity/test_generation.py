"""The tokens that our models write beside those of torch's `generate`, greedily and by beams."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
import torch

from f3ocus_jax import convert
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.models import family_of
from f3ocus_jax.models.generation import decoding as decoding_lib
from f3ocus_jax.models.huggingface import directory as huggingface
from tests.parity import (
    torch_albef,
    torch_blip,
    torch_blip2,
    torch_generation,
    torch_llava,
    torch_smolvlm,
    write_fixtures,
)
from tests.parity.torch_smolvlm import CASES, LARGER_CASES

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("full_precision")]

LENGTH = 7
Theirs = Callable[..., np.ndarray]


def blip(folder):
    case = dataclasses.replace(torch_blip.CASES["plain"], deviation=0.4)
    write_fixtures.save_blip(folder, case)
    model, batch = torch_blip.random_model(case), torch_blip.random_batch(case)

    def theirs(**settings):
        start = case.text["bos_token_id"]
        return torch_generation.of_decoder(model, batch, start=start, **settings)

    return theirs, batch


def albef(folder):
    case = dataclasses.replace(torch_albef.CASE, deviation=0.4)
    model, batch = torch_albef.random_model(case), torch_blip.random_batch(case)
    checkpoint, vocabulary = folder / "albef.pth", folder / "tokenizer"
    torch.save({"model": torch_albef.tuned_checkpoint(model)}, checkpoint)
    vocabulary.mkdir()
    load_tokenizer().save(vocabulary)
    convert.convert(checkpoint, vocabulary, folder / "model", head_width=4)

    def theirs(**settings):
        start = case.text["bos_token_id"]
        return torch_generation.of_decoder(model, batch, start=start, **settings)

    return theirs, batch


def llava(folder):
    case = dataclasses.replace(torch_llava.CASES["plain"], deviation=0.3)
    write_fixtures.save_llava(folder, case)
    model, batch = torch_llava.random_model(case), torch_llava.random_batch(case)

    def theirs(**settings):
        return torch_generation.of_llava(case, model, batch, **settings)

    return theirs, batch


def smolvlm(name):
    def make(folder):
        case = dataclasses.replace((CASES | LARGER_CASES)[name], deviation=0.3)
        write_fixtures.save_smolvlm(folder, case)
        model, batch = torch_smolvlm.random_model(case), torch_smolvlm.random_batch(case)

        def theirs(**settings):
            return torch_generation.of_smolvlm(case, model, batch, **settings)

        return theirs, batch

    return make


def blip2(language):
    def make(folder):
        case = dataclasses.replace(torch_blip2.CASES[language], deviation=0.3)
        write_fixtures.save_blip2(folder, case)
        model, batch = torch_blip2.random_model(case), torch_blip2.random_batch(case)

        def theirs(**settings):
            return torch_generation.of_blip2(case, model, batch, **settings)

        return theirs, batch

    return make


MODELS = {
    "albef": albef,
    "blip": blip,
    "llava": llava,
    "smolvlm": smolvlm("plain"),
    "smolvlm-tied": smolvlm("tied"),
} | {f"blip2-{language}": blip2(language) for language in ("opt", "t5", "llama")}


@pytest.mark.parametrize("name", MODELS)
def test_the_written_tokens_are_those_of_torch(name, tmp_path):
    theirs, batch = MODELS[name](tmp_path)
    has_folder = (tmp_path / "model").exists()
    generator, params = written_by(tmp_path / "model" if has_folder else tmp_path)
    free_BA = theirs(end=-1, length=LENGTH, beams=1)
    # An end that some examples write at once, some later, and some perhaps never.
    end = int(free_BA[0, 2])
    assert (theirs(end=end, length=LENGTH, beams=1) == torch_generation.PADDING).any()
    for beams in (1, 3):
        expected_BA = theirs(end=end, length=LENGTH, beams=beams)
        found = dataclasses.replace(
            generator, end_token=end, padding_token=torch_generation.PADDING
        )
        write = (
            decoding_lib.make_greedy_search(found, LENGTH)
            if beams == 1
            else decoding_lib.make_beam_search(found, LENGTH, beams)
        )
        np.testing.assert_array_equal(jax.jit(write)(params, batch), expected_BA)


def written_by(folder):
    """Reads a directory as a model that writes."""
    weights = huggingface.load(folder, key=jax.random.key(0), answers=["no", "yes"])
    spec: Any = weights.spec.replace(answering="generate")
    generator = family_of(spec).make_model(spec).generator
    assert generator is not None
    return generator, weights.params
