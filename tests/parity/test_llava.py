"""Our LLaVA beside torch's LlavaForConditionalGeneration: states, scores, gradients, files."""

from typing import Any

import chex
import jax
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.models import FAMILIES, sizes
from f3ocus_jax.models.blocks.llama_config import LlamaConfig
from f3ocus_jax.models.huggingface import directory as huggingface, layout, tensor_files
from f3ocus_jax.models.llava.config import LlavaConfig
from tests.models import image_tokens_oracle
from tests.parity import torch_llava, write_fixtures
from tests.parity.torch_llava import CASES, LARGER_CASES, Case

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("full_precision")]

FAMILY = FAMILIES["llava"]
ALL_CASES = CASES | LARGER_CASES
LLAVA_7B_PARAMETERS = 7_063_427_072
"""As `tests/models/test_llava.py` has it."""


@pytest.fixture(params=sorted(ALL_CASES))
def case(request):
    return ALL_CASES[request.param]


def published(name):
    """The name that a published checkpoint has for a parameter of a running model."""
    renamed = FAMILY.rename([name.removeprefix("gradient.")])
    (new,) = renamed.values()
    return f"gradient.{new}" if name.startswith("gradient.") else name


@pytest.mark.parametrize("stack", FAMILY.stacks)
def test_states_scores_and_every_gradient_equal_torch(case, stack, tmp_path):
    batch = torch_llava.random_batch(case)
    theirs = torch_llava.run(case, torch_llava.random_model(case), batch)
    write_fixtures.save_llava(tmp_path, case)
    weights = huggingface.load(tmp_path, key=jax.random.key(0), selectable=stack)
    ours = image_tokens_oracle.run(weights.spec, weights.params, batch)
    compared = {published(name): value for name, value in theirs.items()}
    for name, value in compared.items():
        atol = 1e-4 if name.startswith("gradient.") else 1e-5
        np.testing.assert_allclose(ours[name], value, atol=atol, rtol=1e-5, err_msg=name)
    # Without a gradient in torch: the image encoder's last block and its norm.
    for name in ours.keys() - compared.keys():
        np.testing.assert_array_equal(ours[name], 0, err_msg=name)
    unused = f"layers.{case.vision['num_hidden_layers'] - 1}."
    assert all(unused in n or "post_layernorm" in n for n in ours.keys() - compared.keys())


def test_names_on_disk_and_in_a_running_model_give_the_same(tmp_path):
    case = CASES["plain"]
    model = torch_llava.random_model(case)
    del model.answer_head
    model.save_pretrained(tmp_path / "disk")
    model.save_pretrained(tmp_path / "running")
    running = {name: value.numpy() for name, value in model.state_dict().items()}
    tensor_files.write(tmp_path / "running" / tensor_files.WEIGHTS_FILE, running)
    disk, of_state = (
        huggingface.load(tmp_path / name, key=jax.random.key(0), answers=["no", "yes"])
        for name in ("disk", "running")
    )
    assert not running.keys() & tensor_files.locate(tmp_path / "disk").keys()
    chex.assert_trees_all_equal(disk.params, of_state.params)


def test_torch_reads_what_we_write(tmp_path):
    case = CASES["plain"]
    tokenizer = load_tokenizer(prompt=FAMILY.prompt)
    decided = FAMILY.vocabulary_sizes(tokenizer.vocabulary_size, tokenizer.token_id)
    named = sizes.merged({"vision_config": case.vision, "text_config": case.text}, decided)
    config = sizes.build(LlavaConfig, named)
    spec = FAMILY.spec(config, num_answers=2, adapter_size=3)
    params = FAMILY.make_model(spec).init(jax.random.key(0))
    huggingface.save(tmp_path, spec, params, ["no", "yes"], tokenizer)
    model, report = transformers.LlavaForConditionalGeneration.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(report.values()), report
    case = Case(**{**vars(case), "text": {**case.text, "vocab_size": spec.config.vocab_size}})
    batch = torch_llava.random_batch(case)
    with torch.no_grad():
        theirs = model.eval()(**torch_llava.inputs(case, batch)).logits.numpy()
    ours = image_tokens_oracle.run(spec, params, batch)["logits_BTV"]
    mask_BT = image_tokens_oracle.expand(
        batch, spec.config.image_token_index, spec.config.num_patches
    )[1]
    np.testing.assert_allclose(ours, theirs * mask_BT[..., None], atol=1e-5)


def test_shards_are_read_as_one_model(tmp_path):
    model = torch_llava.random_model(CASES["plain"])
    del model.answer_head
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "shards", max_shard_size="10KB")
    assert not (tmp_path / "shards" / "model.safetensors").exists()
    one, shards = (
        huggingface.load(tmp_path / name, key=jax.random.key(0), answers=["no", "yes"])
        for name in ("one", "shards")
    )
    chex.assert_trees_all_equal(one.params, shards.params)


@pytest.mark.parametrize("name", sorted(CASES))
def test_fixtures_are_what_torch_gives_now(name):
    stored = load_file(write_fixtures.FIXTURES / "llava" / name / "expected.safetensors")
    now = write_fixtures.expected_llava(CASES[name])
    assert stored.keys() == now.keys()
    for key in stored:
        np.testing.assert_allclose(stored[key], now[key], atol=1e-6, err_msg=key)


def test_the_parameters_of_the_full_size_are_as_many_as_recorded():
    published: dict[str, Any] = {"vocab_size": 32064, "max_position_embeddings": 4096}
    config = transformers.LlavaConfig(text_config=transformers.LlamaConfig(**published))
    with torch.device("meta"):
        model = transformers.LlavaForConditionalGeneration(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == LLAVA_7B_PARAMETERS
    ours = FAMILY.spec(LlavaConfig(text_config=LlamaConfig(**published)), num_answers=2)
    template = jax.eval_shape(FAMILY.make_model(ours).init, jax.random.key(0))
    shapes = layout.expected_shapes(
        FAMILY.tensors(ours.config), FAMILY.to_submodules(ours, template)
    )
    theirs = {published_name: tuple(value.shape) for published_name, value in _named(model)}
    assert shapes == theirs


def _named(model):
    for name, parameter in model.named_parameters():
        yield published(f"gradient.{name}").removeprefix("gradient."), parameter
