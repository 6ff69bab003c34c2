"""Our ALBEF beside a composite of transformers' classes, by way of the authors' checkpoints."""

import pathlib

import chex
import jax
import numpy as np
import pytest
import torch

from f3ocus_jax import convert
from f3ocus_jax.data.tokenizer import Tokenizer
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.errors import WeightsError
from f3ocus_jax.models import FAMILIES
from f3ocus_jax.models.huggingface import directory as huggingface, extra_files, seal, tensor_files
from f3ocus_jax.models.published import PUBLISHED
from tests.models.blip import blip_oracle
from tests.parity import torch_albef, torch_blip
from tests.parity.torch_albef import CASE, FUSION_LAYER, Albef

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("full_precision")]

HEAD_WIDTH = 4
PARAMETERS = PUBLISHED["albef"][1].parameters
ANSWERS = [f"answer {place}" for place in range(CASE.answers)]


@pytest.fixture(scope="module")
def model():
    return torch_albef.random_model(CASE)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer: Tokenizer = load_tokenizer()
    tokenizer.save(folder)
    return folder


def converted(state, vocabulary, folder):
    torch.save({"model": state, "epoch": 3}, folder / "albef.pth")
    convert.convert(folder / "albef.pth", vocabulary, folder / "model", head_width=HEAD_WIDTH)
    return folder / "model"


@pytest.mark.parametrize("stack", FAMILIES["albef"].stacks)
def test_states_scores_and_every_gradient_equal_torch(stack, model, vocabulary, tmp_path):
    batch, texts = torch_blip.random_batch(CASE), torch_blip.random_answers(CASE)
    theirs = torch_albef.run(model, batch, texts)
    folder = converted(torch_albef.tuned_checkpoint(model), vocabulary, tmp_path)
    extra_files.write_head(folder, torch_blip.head_params(model.answer_head))
    content = tensor_files.read_json(folder / huggingface.CONFIG_FILE)
    labels = {"id2label": {str(place): answer for place, answer in enumerate(ANSWERS)}}
    tensor_files.write_json(folder / huggingface.CONFIG_FILE, content | labels)
    seal.seal(folder)  # the files were changed on purpose
    weights = huggingface.load(folder, key=jax.random.key(0), selectable=stack)
    assert weights.spec.config.text_config.fusion_layer == FUSION_LAYER
    ours = blip_oracle.run(weights.spec, weights.params, batch, texts)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        atol = 1e-4 if name.startswith("gradient.") else 1e-5
        np.testing.assert_allclose(ours[name], value, atol=atol, rtol=1e-5, err_msg=name)


def test_a_pretrained_checkpoint_gets_a_decoder_from_its_fusion_blocks(model, vocabulary, tmp_path):
    folder = converted(torch_albef.pretrained_checkpoint(model), vocabulary, tmp_path)
    weights = huggingface.load(folder, key=jax.random.key(0), answers=ANSWERS)
    parts = FAMILIES["albef"].to_submodules(weights.spec, weights.params)
    decoder = parts["decoder"]
    chex.assert_trees_all_equal(decoder["blocks"], parts["fusion_blocks"])
    chex.assert_trees_all_equal(decoder["embeddings"], parts["text_embeddings"])
    bias = model.text_decoder.cls.predictions.bias.detach().numpy()
    np.testing.assert_array_equal(decoder["scores"]["bias"], bias)


def test_what_is_missing_or_left_over_is_listed(model, vocabulary, tmp_path):
    state = torch_albef.tuned_checkpoint(model)
    state["text_encoder.extra"] = torch.ones(1)
    del state["visual_encoder.norm.bias"]
    with pytest.raises(WeightsError) as caught:
        converted(state, vocabulary, tmp_path)
    assert "missing: visual_encoder.norm.bias" in str(caught.value)
    assert "left over: text_encoder.extra" in str(caught.value)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no checkpoint", "is damaged, or holds more than tensors"),
        ({"model": {"a": 1}}, "holds no tensors by name"),
        ({"model": {"a": torch.ones(2)}}, "no checkpoint of ALBEF: it lacks"),
        ({"model": {"a": torch.ones(2)}, "run": pathlib.Path("x")}, "holds more than tensors"),
    ],
    ids=["bytes", "numbers", "another model", "code"],
)
def test_files_that_are_no_such_checkpoint_are_named(content, message, vocabulary, tmp_path):
    path = tmp_path / "albef.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(WeightsError, match=message):
        convert.convert(path, vocabulary, tmp_path / "model", head_width=HEAD_WIDTH)


def test_the_parameters_of_the_full_size_are_as_many_as_recorded():
    with torch.device("meta"):
        model = Albef(torch_albef.FULL_SIZE, fusion_layer=6)
    del model.answer_head
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS
