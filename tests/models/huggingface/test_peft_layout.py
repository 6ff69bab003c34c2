"""Low-rank changes in PEFT's layout: names, shapes, and what they add up to."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from f3ocus_jax.models import units
from f3ocus_jax.models.huggingface import directory as huggingface, layout, peft_layout
from tests.helpers.families import CASES, FAMILY_OF, TINY, made_with_lora

RANK = 2
"""Of `made_with_lora`."""
NAMES = {
    ("blip", "vision"): "vision_model.encoder.layers.{}.self_attn.qkv",
    ("blip2_llama", "vision"): "vision_model.encoder.layers.{}.self_attn.qkv",
    ("blip2_opt", "vision"): "vision_model.encoder.layers.{}.self_attn.qkv",
    ("blip2_t5", "vision"): "vision_model.encoder.layers.{}.self_attn.qkv",
    ("blip", "text"): "text_encoder.encoder.layer.{}.attention.self.query",
    ("blip2_llama", "language"): "language_model.model.layers.{}.self_attn.v_proj",
    ("blip2_llama", "qformer"): "qformer.encoder.layer.{}.attention.attention.query",
    ("blip2_opt", "language"): "language_model.model.decoder.layers.{}.self_attn.q_proj",
    ("blip2_opt", "qformer"): "qformer.encoder.layer.{}.attention.attention.value",
    ("blip2_t5", "language"): "language_model.encoder.block.{}.layer.0.SelfAttention.q",
    ("blip2_t5", "qformer"): "qformer.encoder.layer.{}.attention.attention.value",
    ("llava", "language"): "model.language_model.layers.{}.self_attn.v_proj",
    ("llava", "vision"): "model.vision_tower.encoder.layers.{}.self_attn.q_proj",
    ("smolvlm", "language"): "model.text_model.layers.{}.self_attn.v_proj",
    ("smolvlm", "vision"): "model.vision_model.encoder.layers.{}.self_attn.q_proj",
    ("vilt", "blocks"): "vilt.encoder.layer.{}.attention.attention.query",
}
"""One changed module of each stack, from `named_modules` of transformers 5.23."""
LAYOUTS = [case for case in CASES if FAMILY_OF[case[0]].module_name is not None]
LACKING = sorted(set(CASES) - set(LAYOUTS))


def config_of(name, stack):
    return TINY[name](selectable=stack)


def written(folder, name, stack):
    """What is read back of the folder, without PEFT."""
    _, params, _ = made_with_lora(name, stack)
    peft_layout.write(folder, config_of(name, stack), params, "start")
    adapter = folder / "peft_adapter"
    settings = json.loads((adapter / "adapter_config.json").read_text())
    return settings, load_file(adapter / "adapter_model.safetensors")


def exported(name, stack, params):
    """Tensors of an exported model by the names of a running one."""
    family, spec = FAMILY_OF[name], config_of(name, stack)
    theirs = layout.to_huggingface(family.tensors(spec.config), family.to_submodules(spec, params))
    return {family.module_name(tensor): value for tensor, value in theirs.items()}


def test_stacks_without_a_layout_are_albef_s():
    assert set(LACKING) == {case for case in CASES if case[0] == "albef"}
    assert set(NAMES) == {case for case in LAYOUTS if case[0] in {name for name, _ in NAMES}}


@pytest.mark.parametrize(("name", "stack"), LAYOUTS)
def test_start_plus_changes_equals_the_exported_weights(name, stack, tmp_path):
    settings, tensors = written(tmp_path, name, stack)
    _, params, _ = made_with_lora(name, stack)
    start, merged = (exported(name, stack, of) for of in (params, units.merged(params)))
    modules = settings["target_modules"]
    changed = {tensor for tensor in start if (start[tensor] != merged[tensor]).any()}
    assert changed == {f"{module}.weight" for module in modules}
    factor = settings["lora_alpha"] / settings["r"]
    for module in modules:
        down, up = (tensors.pop(f"base_model.model.{module}.lora_{m}.weight") for m in "AB")
        weight = start[f"{module}.weight"]
        rank = settings["r"]
        assert rank == RANK * (2 if module.endswith(".qkv") else 1)
        assert (down.shape, up.shape) == ((rank, weight.shape[1]), (weight.shape[0], rank))
        expected = weight + factor * up @ down
        np.testing.assert_allclose(merged[f"{module}.weight"], expected, atol=1e-6)
    head = {n.removeprefix("base_model.model."): value for n, value in tensors.items()}
    assert all(np.array_equal(value, merged[tensor]) for tensor, value in head.items())
    assert {tensor.split(".")[0] for tensor in head} == set(settings["modules_to_save"] or ())


@pytest.mark.parametrize(("name", "stack"), sorted(NAMES))
def test_names_are_those_of_every_layer_of_a_running_model(name, stack, tmp_path):
    settings, tensors = written(tmp_path, name, stack)
    depth = made_with_lora(name, stack)[0].num_layers * (2 if stack == "qformer" else 1)
    modules = {NAMES[name, stack].format(layer) for layer in range(depth)}
    assert modules <= set(settings["target_modules"])
    assert not {NAMES[name, stack].format(depth)} & set(settings["target_modules"])
    assert len(set(settings["target_modules"])) == len(settings["target_modules"])
    assert {value.dtype.name for value in tensors.values()} == {"float32"}
    # A running model's names lead back to the tensors of a directory.
    files = set(layout.expected_shapes(*_kinds(name, stack)))
    running = [f"{module}.weight" for module in settings["target_modules"]]
    assert set(FAMILY_OF[name].rename(running).values()) <= files


def _kinds(name, stack):
    spec, family = config_of(name, stack), FAMILY_OF[name]
    return family.tensors(spec.config), family.to_submodules(spec, made_with_lora(name, stack)[1])


def test_settings_make_a_lora_config_of_factor_one(tmp_path):
    settings, _ = written(tmp_path, "vilt", "blocks")
    wanted = {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": "start",
        "inference_mode": True,
        "r": RANK,
        "lora_alpha": RANK,
        "use_rslora": False,
        "lora_dropout": 0.0,
        "bias": "none",
        "modules_to_save": ["classifier"],
    }
    assert {key: settings[key] for key in wanted} == wanted
    assert len(settings["target_modules"]) == 2 * 3


@pytest.mark.parametrize(("name", "stack"), LACKING)
def test_no_folder_where_peft_has_no_layout(name, stack, tmp_path):
    _, params, _ = made_with_lora(name, stack)
    peft_layout.write(tmp_path, config_of(name, stack), params, "start")
    assert not list(tmp_path.iterdir())


def test_a_model_without_changes_takes_those_of_an_earlier_one_away(tmp_path):
    written(tmp_path, "vilt", "blocks")
    _, params, _ = made_with_lora("vilt", "blocks")
    peft_layout.write(tmp_path, config_of("vilt", "blocks"), units.merged(params), "")
    assert not list((tmp_path / peft_layout.FOLDER).iterdir())


def test_drawn_weights_have_no_name_and_a_head_of_findings_alone_is_not_saved(tmp_path):
    _, params, _ = made_with_lora("vilt", "blocks")
    spec = config_of("vilt", "blocks")
    shapes = huggingface.head_shapes(spec, {"findings": ("edema", "mass")})
    head = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    peft_layout.write(tmp_path, spec, {**params, "head": head}, "")
    adapter = tmp_path / peft_layout.FOLDER
    settings = json.loads((adapter / peft_layout.CONFIG_FILE).read_text())
    assert settings["base_model_name_or_path"] is settings["modules_to_save"] is None
    names = load_file(adapter / peft_layout.WEIGHTS_FILE)
    assert all(name.endswith((peft_layout.DOWN, peft_layout.UP)) for name in names)
