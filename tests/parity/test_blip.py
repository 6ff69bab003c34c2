"""Our BLIP beside torch's BlipForQuestionAnswering: states, scores, gradients, round trips."""

import chex
import jax
import numpy as np
import pytest
import transformers
from safetensors.numpy import load_file

from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.models import FAMILIES, sizes
from f3ocus_jax.models.blip.config import BlipConfig
from f3ocus_jax.models.huggingface import directory as huggingface, layout
from tests.models.blip import blip_oracle
from tests.parity import torch_blip, write_fixtures
from tests.parity.torch_blip import CASES, LARGER_CASES

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("full_precision")]

ALL_CASES = CASES | LARGER_CASES
"""Of both encoders and the decoder, as `tests/models/test_blip.py` has it."""


@pytest.fixture(params=sorted(ALL_CASES))
def case(request):
    return ALL_CASES[request.param]


def assert_equal_torch(ours, theirs, answer_mask_BT):
    assert ours.keys() == theirs.keys()
    # What follows a text's padding means nothing.
    for scores in (ours, theirs):
        scores["logits_BTV"] = scores["logits_BTV"] * answer_mask_BT[..., None]
    for name, value in theirs.items():
        atol = 1e-4 if name.startswith("gradient.") else 1e-5
        np.testing.assert_allclose(ours[name], value, atol=atol, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("stack", FAMILIES["blip"].stacks)
def test_states_scores_and_every_gradient_equal_torch(case, stack, tmp_path):
    batch, answers = torch_blip.random_batch(case), torch_blip.random_answers(case)
    theirs = torch_blip.run(torch_blip.random_model(case), batch, answers)
    write_fixtures.save_blip(tmp_path, case)
    weights = huggingface.load(tmp_path, key=jax.random.key(0), selectable=stack)
    ours = blip_oracle.run(weights.spec, weights.params, batch, answers)
    assert_equal_torch(ours, theirs, answers[1])


@pytest.mark.parametrize("image_size", [32, 72])
def test_another_image_size_equals_torchs_interpolated_positions(image_size, tmp_path):
    case = LARGER_CASES["longest_question"]
    batch = torch_blip.random_batch(case, image_size=image_size)
    answers = torch_blip.random_answers(case)
    theirs = torch_blip.run(torch_blip.random_model(case), batch, answers)
    write_fixtures.save_blip(tmp_path, case)
    weights = huggingface.load(tmp_path, key=jax.random.key(0), image_size=image_size)
    ours = blip_oracle.run(weights.spec, weights.params, batch, answers)
    # The gradient of torch's positions has passed through the interpolation, ours has not.
    position = "gradient.vision_model.embeddings.position_embedding"
    assert ours.pop(position).shape != theirs.pop(position).shape
    assert_equal_torch(ours, theirs, answers[1])


def test_torch_reads_what_we_write(tmp_path):
    tokenizer, case = load_tokenizer(), CASES["plain"]
    text = {**case.text, "vocab_size": tokenizer.vocabulary_size}
    named = {"vision_config": case.vision, "text_config": text}
    config = sizes.build(BlipConfig, named)
    spec = FAMILIES["blip"].spec(config, num_answers=2, adapter_size=3)
    params = FAMILIES["blip"].make_model(spec).init(jax.random.key(0))
    huggingface.save(tmp_path, spec, params, ["no", "yes"], tokenizer)
    model, report = transformers.BlipForQuestionAnswering.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(report.values()), report
    assert model.config.id2label == {0: "no", 1: "yes"}
    ours = layout.to_huggingface(
        FAMILIES["blip"].tensors(config), FAMILIES["blip"].to_submodules(spec, params)
    )
    for name, value in ours.items():
        np.testing.assert_array_equal(model.state_dict()[name], value, err_msg=name)
    tied = model.text_decoder.cls.predictions.decoder.weight
    assert tied is model.text_decoder.bert.embeddings.word_embeddings.weight


def test_shards_are_read_as_one_model(tmp_path):
    model = torch_blip.random_model(CASES["plain"])
    del model.answer_head
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert not (tmp_path / "shards" / "model.safetensors").exists()
    one, shards = (
        huggingface.load(tmp_path / name, key=jax.random.key(0), answers=["no", "yes"])
        for name in ("one", "shards")
    )
    chex.assert_trees_all_equal(one.params, shards.params)


@pytest.mark.parametrize("name", sorted(CASES))
def test_fixtures_are_what_torch_gives_now(name):
    folder = write_fixtures.FIXTURES / "blip" / name
    stored = load_file(folder / "expected.safetensors")
    now = write_fixtures.expected_blip(CASES[name])
    assert stored.keys() == now.keys()
    for key in stored:
        np.testing.assert_allclose(stored[key], now[key], atol=1e-6, err_msg=key)
