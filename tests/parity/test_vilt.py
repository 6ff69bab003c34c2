"""Our ViLT beside torch's ViltForQuestionAnswering: logits, loss, gradients, both round trips."""

import dataclasses

import chex
import jax
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.models import FAMILIES, base, units
from f3ocus_jax.models.blocks import lora
from f3ocus_jax.models.huggingface import directory as huggingface, layout
from f3ocus_jax.models.losses import binary_cross_entropy, masked_mean
from f3ocus_jax.models.vilt import model as vilt, tensors as vilt_layout
from tests.parity import torch_vilt, write_fixtures
from tests.parity.torch_vilt import CASES, LARGER_CASES

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("full_precision")]

ALL_CASES = CASES | LARGER_CASES

apply = jax.jit(base.apply, static_argnums=0)


@pytest.fixture(params=sorted(ALL_CASES))
def case(request):
    return ALL_CASES[request.param]


def loss_and_gradients(spec, params, batch):
    model = vilt.make_model(spec)

    def loss(params):
        logits_BC = base.apply(model, params, batch)
        return masked_mean(binary_cross_entropy(logits_BC, batch.labels_B), batch)

    value, gradients = jax.jit(jax.value_and_grad(loss))(params)
    return float(value), layout.to_huggingface(vilt_layout.tensors(spec.config), gradients)


def test_logits_loss_and_every_gradient_equal_torch(case, tmp_path):
    model, batch = torch_vilt.random_model(case), torch_vilt.random_batch(case)
    logits_BC, loss, gradients = torch_vilt.run(model, batch)
    model.save_pretrained(tmp_path)
    weights = huggingface.load(tmp_path, key=jax.random.key(0))
    ours_BC = apply(vilt.make_model(weights.spec), weights.params, batch)
    np.testing.assert_allclose(ours_BC, logits_BC, atol=1e-5)
    our_loss, our_gradients = loss_and_gradients(weights.spec, weights.params, batch)
    np.testing.assert_allclose(our_loss, loss, rtol=1e-5)
    assert our_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(our_gradients[name], gradient, atol=1e-4, err_msg=name)


SEVERAL = [(24, 24), (16, 40), (40, 8), (20, 36), (40, 40)]
"""Height and width of images on a canvas of 40, all multiples of a patch but the fourth's."""


def of_several_sizes():
    """A model whose positions are for 3 x 3 patches of 8, and images of several sizes for it."""
    plain = CASES["plain"]
    sizes = {**plain.sizes, "image_size": 24}
    # With smaller parameters the logits hardly depend on the image.
    case = dataclasses.replace(plain, sizes=sizes, examples=len(SEVERAL), deviation=0.5)
    batch = torch_vilt.resized(torch_vilt.random_batch(case), 40, SEVERAL)
    return torch_vilt.random_model(case), batch


def test_images_of_several_sizes_give_torch_s_logits_and_gradients(tmp_path):
    model, batch = of_several_sizes()
    logits_BC, loss, gradients = torch_vilt.run(model, batch)
    model.save_pretrained(tmp_path)
    weights = huggingface.load(tmp_path, key=jax.random.key(0))
    ours_BC = apply(vilt.make_model(weights.spec), weights.params, batch)
    np.testing.assert_allclose(ours_BC, logits_BC, atol=1e-5)
    our_loss, our_gradients = loss_and_gradients(weights.spec, weights.params, batch)
    np.testing.assert_allclose(our_loss, loss, rtol=1e-5)
    assert our_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(our_gradients[name], gradient, atol=1e-4, err_msg=name)
    filled = batch.replace(image_size_B2=np.full_like(batch.image_size_B2, 40))
    filled_BC = apply(vilt.make_model(weights.spec), weights.params, filled)
    changed_B = np.abs(filled_BC - ours_BC).max(axis=1) > 0.05
    np.testing.assert_array_equal(changed_B, [True, True, True, True, False])


def test_hidden_states_of_several_sizes_equal_torch_s(tmp_path):
    """Of text tokens each, of patches their sum: torch shuffles them, hidden ones to the end."""
    model, batch = of_several_sizes()
    model.save_pretrained(tmp_path)
    weights = huggingface.load(tmp_path, key=jax.random.key(0))
    with torch.no_grad():
        found = model(**torch_vilt.inputs(batch), output_hidden_states=True).hidden_states[-1]
    theirs_BTD = found.numpy()
    encode = jax.jit(base.encode, static_argnums=0)
    ours_BTD, bias_B11T = encode(vilt.make_model(weights.spec), weights.params, batch)
    first = batch.input_ids_BT.shape[1] + 1
    np.testing.assert_allclose(ours_BTD[:, :first], theirs_BTD[:, :first], atol=1e-5)
    seen_BP = np.asarray(bias_B11T)[:, 0, 0, first:] == 0
    for example, (height, width) in enumerate(SEVERAL):
        patches = -(-height // 8) * -(-width // 8)
        assert seen_BP[example].sum() == patches
        ours_D = ours_BTD[example, first:][seen_BP[example]].sum(axis=0)
        theirs_D = theirs_BTD[example, first : first + patches].sum(axis=0)
        np.testing.assert_allclose(ours_D, theirs_D, atol=1e-4)


def test_torch_reads_what_we_write(tmp_path):
    tokenizer = load_tokenizer()
    case = LARGER_CASES["deep"]
    config = vilt.ViltConfig(**{**case.sizes, "vocab_size": tokenizer.vocabulary_size})
    spec = FAMILIES["vilt"].spec(config, num_answers=case.answers, adapter_size=3)
    params = vilt.make_model(spec).init(jax.random.key(0))
    batch = torch_vilt.random_batch(case)
    answers = [f"answer {place}" for place in range(case.answers)]
    huggingface.save(tmp_path, spec, params, answers, tokenizer)
    model = transformers.ViltForQuestionAnswering.from_pretrained(tmp_path).eval()
    assert model.config.id2label == dict(enumerate(answers))
    logits_BC, _, _ = torch_vilt.run(model, batch)
    ours_BC = apply(vilt.make_model(spec), params, batch)
    np.testing.assert_allclose(ours_BC, logits_BC, atol=1e-5)


def test_torch_reads_low_rank_changes_that_were_added_to_their_maps(tmp_path):
    tokenizer, case = load_tokenizer(), LARGER_CASES["deep"]
    sizes = {**case.sizes, "vocab_size": tokenizer.vocabulary_size}
    spec = FAMILIES["vilt"].spec(vilt.ViltConfig(**sizes), num_answers=case.answers)
    model = vilt.make_model(spec)
    params = model.init(jax.random.key(0))
    rows = lora.init_stack(jax.random.key(1), params["blocks"], 2)
    # Fresh ones change nothing.
    params["lora"] = jax.tree.map(lambda leaf: leaf + 0.1, rows)
    answers = [f"answer {place}" for place in range(case.answers)]
    huggingface.save(tmp_path, spec, units.merged(params), answers, tokenizer)
    batch = torch_vilt.random_batch(case)
    theirs = transformers.ViltForQuestionAnswering.from_pretrained(tmp_path).eval()
    logits_BC, _, _ = torch_vilt.run(theirs, batch)
    ours_BC = apply(model, params, batch)
    np.testing.assert_allclose(ours_BC, logits_BC, atol=1e-5)
    without = {key: params[key] for key in params if key != "lora"}
    assert np.abs(apply(model, without, batch) - ours_BC).max() > 1e-3


def test_a_round_trip_through_ours_keeps_every_bit(tmp_path):
    model = torch_vilt.random_model(LARGER_CASES["wide"])
    model.resize_token_embeddings(load_tokenizer().vocabulary_size)
    model.save_pretrained(tmp_path / "theirs")
    weights = huggingface.load(tmp_path / "theirs", key=jax.random.key(0))
    huggingface.save(
        tmp_path / "ours", weights.spec, weights.params, weights.answers, load_tokenizer()
    )
    again = transformers.ViltForQuestionAnswering.from_pretrained(tmp_path / "ours")
    before, after = model.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)


@pytest.mark.parametrize("kind", ["ViltModel", "ViltForMaskedLM"])
def test_a_model_without_an_answer_head_gets_a_fresh_one(kind, tmp_path):
    case = CASES["plain"]
    model = torch_vilt.random_model(case, getattr(transformers, kind))
    model.save_pretrained(tmp_path)
    weights = huggingface.load(tmp_path, key=jax.random.key(0), answers=["no", "yes"])
    assert weights.answers == ("no", "yes")
    ours = layout.to_huggingface(vilt_layout.tensors(weights.spec.config), weights.params)
    theirs = (model if kind == "ViltModel" else model.vilt).state_dict()
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[f"vilt.{name}"], value, err_msg=name)


def test_shards_are_read_as_one_model(tmp_path):
    model = torch_vilt.random_model(CASES["plain"])
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "shards", max_shard_size="10KB")
    assert not (tmp_path / "shards" / "model.safetensors").exists()
    one, shards = (
        huggingface.load(tmp_path / name, key=jax.random.key(0)) for name in ("one", "shards")
    )
    chex.assert_trees_all_equal(one.params, shards.params)


@pytest.mark.parametrize("name", sorted(CASES))
def test_fixtures_are_what_torch_gives_now(name):
    folder = write_fixtures.FIXTURES / "vilt" / name
    stored, now = (
        load_file(folder / "expected.safetensors"),
        write_fixtures.expected_vilt(CASES[name]),
    )
    assert stored.keys() == now.keys()
    for key in stored:
        np.testing.assert_allclose(stored[key], now[key], atol=1e-6, err_msg=key)
    model = transformers.ViltForQuestionAnswering.from_pretrained(folder)
    for key, value in torch_vilt.random_model(CASES[name]).state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[key], value, err_msg=key)
