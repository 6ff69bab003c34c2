"""Our SmolVLM beside torch's classes of SmolVLM and Idefics3: states, scores, gradients, files."""

import chex
import jax
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.models import FAMILIES, published, sizes
from f3ocus_jax.models.huggingface import directory as huggingface, layout
from f3ocus_jax.models.smolvlm.config import MODEL_TYPES, SmolVlmConfig
from tests.models import image_tokens_oracle
from tests.parity import torch_smolvlm, write_fixtures
from tests.parity.torch_smolvlm import CASES, CLASSES, LARGER_CASES, Case

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("full_precision")]

FAMILY = FAMILIES["smolvlm"]
ALL_CASES = CASES | LARGER_CASES


@pytest.mark.parametrize("name", sorted(ALL_CASES))
@pytest.mark.parametrize("stack", FAMILY.stacks)
def test_states_scores_and_every_gradient_equal_torch(name, stack, tmp_path):
    case = ALL_CASES[name]
    batch = torch_smolvlm.random_batch(case)
    theirs = torch_smolvlm.run(case, torch_smolvlm.random_model(case), batch)
    write_fixtures.save_smolvlm(tmp_path, case)
    weights = huggingface.load(tmp_path, key=jax.random.key(0), selectable=stack)
    assert weights.spec.config.tie_word_embeddings == case.tied
    ours = image_tokens_oracle.run(weights.spec, weights.params, batch)
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        atol = 1e-4 if key.startswith("gradient.") else 1e-5
        np.testing.assert_allclose(ours[key], value, atol=atol, rtol=1e-5, err_msg=key)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_torch_reads_what_we_write(model_type, tied, tmp_path):
    case = CASES["plain"]
    tokenizer = load_tokenizer(prompt=FAMILY.prompt)
    decided = FAMILY.vocabulary_sizes(tokenizer.vocabulary_size, tokenizer.token_id)
    named = {"vision_config": case.vision, "text_config": case.text, "model_type": model_type}
    named = sizes.merged({**named, "tie_word_embeddings": tied}, decided)
    named["image_token_id"] = tokenizer.vocabulary_size - 1  # as in the cases
    spec = FAMILY.spec(sizes.build(SmolVlmConfig, named), num_answers=2, adapter_size=3)
    params = FAMILY.make_model(spec).init(jax.random.key(0))
    huggingface.save(tmp_path, spec, params, ["no", "yes"], tokenizer)
    assert huggingface.load_spec(tmp_path).config == spec.config
    model, report = CLASSES[model_type][1].from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    assert (model.config.model_type, model.config.architectures[0]) == (
        model_type,
        type(model).__name__,
    )
    case = Case(**{**vars(case), "text": {**case.text, "vocab_size": spec.config.vocab_size}})
    batch = torch_smolvlm.random_batch(case)
    with torch.no_grad():
        theirs = model.eval()(**torch_smolvlm.inputs(case, batch)).logits.numpy()
    ours = image_tokens_oracle.run(spec, params, batch)["logits_BTV"]
    own = spec.config
    _, mask_BT = image_tokens_oracle.expand(batch, own.image_token, own.image_tokens)
    np.testing.assert_allclose(ours, theirs * mask_BT[..., None], atol=1e-5)


def test_shards_of_bfloat16_are_read_as_one_model(tmp_path):
    model = torch_smolvlm.random_model(CASES["plain"]).to(torch.bfloat16)
    del model.answer_head
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "shards", max_shard_size="10KB")
    assert not (tmp_path / "shards" / "model.safetensors").exists()
    one, shards = (
        huggingface.load(tmp_path / name, key=jax.random.key(0), answers=["no"], dtype="stored")
        for name in ("one", "shards")
    )
    chex.assert_trees_all_equal(one.params, shards.params)
    assert one.params["embeddings"]["words"]["word"].dtype == "bfloat16"


@pytest.mark.parametrize("name", sorted(CASES))
def test_fixtures_are_what_torch_gives_now(name):
    stored = load_file(write_fixtures.FIXTURES / "smolvlm" / name / "expected.safetensors")
    now = write_fixtures.expected_smolvlm(CASES[name])
    assert stored.keys() == now.keys()
    for key in stored:
        np.testing.assert_allclose(stored[key], now[key], atol=1e-6, err_msg=key)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@pytest.mark.parametrize("name", sorted(FAMILY.published))
def test_every_tensor_of_the_published_sizes_has_torch_s_name_and_shape(name, model_type):
    config, model_class = CLASSES[model_type]
    model = FAMILY.published[name]
    with torch.device("meta"):
        theirs = model_class(config(**sizes.merged(model.settings, model.vocabulary)))
    spec = published.make_spec(name)
    template = jax.eval_shape(FAMILY.make_model(spec).init, jax.random.key(0))
    ours = layout.expected_shapes(FAMILY.tensors(spec.config), FAMILY.to_submodules(spec, template))
    assert ours == {key: tuple(value.shape) for key, value in theirs.named_parameters()}


@pytest.mark.parametrize("name", sorted(FAMILY.published))
def test_positions_of_a_published_grid_are_in_row_major_order(name):
    """As torch computes them from the mask of an image's patches; for other grids it may not."""
    image = published.make_spec(name).config.vision_config
    config = transformers.Idefics3Config(
        vision_config={
            **vars(image),
            "hidden_size": 2,
            "num_attention_heads": 1,
            "num_hidden_layers": 1,
        },
        text_config={"model_type": "llama", "hidden_size": 4, "num_attention_heads": 1},
    )
    embeddings = transformers.Idefics3Model(config).vision_model.embeddings
    with torch.no_grad():
        embeddings.position_embedding.weight[:, 0] = torch.arange(image.num_patches)
        embeddings.patch_embedding.weight.zero_()
        embeddings.patch_embedding.bias.zero_()
        side = image.image_size
        mask = torch.ones(1, image.side, image.side, dtype=torch.bool)
        found = embeddings(torch.ones(1, 3, side, side), mask)[0, :, 0]
    np.testing.assert_array_equal(found, np.arange(image.num_patches))
