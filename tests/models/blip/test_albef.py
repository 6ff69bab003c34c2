"""ALBEF's stacks, sizes and checkpoints; that it equals torch is shown in tests/parity."""

import jax
import numpy as np
import pytest

from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.errors import ConfigError, WeightsError
from f3ocus_jax.models import FAMILIES, base
from f3ocus_jax.models.blip import albef_checkpoint
from f3ocus_jax.models.blip.albef import AlbefConfig, AlbefTextConfig
from f3ocus_jax.models.huggingface import layout
from tests.helpers.models import random_params, tiny_albef, tiny_batch

FAMILY = FAMILIES["albef"]

apply = jax.jit(base.apply, static_argnums=0)


@pytest.fixture(scope="module")
def params():
    return random_params(FAMILY.make_model(tiny_albef(adapter_size=0)))


def tensors(params):
    spec = tiny_albef(adapter_size=0)
    return layout.to_huggingface(FAMILY.tensors(spec.config), FAMILY.to_submodules(spec, params))


@pytest.mark.parametrize(("stack", "layers"), [("fusion", 3), ("text", 2), ("vision", 2)])
def test_any_selectable_stack_gives_the_same_logits(stack, layers, params):
    spec, moved = tiny_albef(adapter_size=0), tiny_albef(adapter_size=0, selectable=stack)
    rearranged = FAMILY.to_params(moved, FAMILY.to_submodules(spec, params))
    assert jax.tree.leaves(rearranged["blocks"])[0].shape[0] == layers
    batch = tiny_batch(spec)
    logits_BC = apply(FAMILY.make_model(spec), params, batch)
    moved_BC = apply(FAMILY.make_model(moved), rearranged, batch)
    np.testing.assert_allclose(logits_BC, moved_BC, atol=1e-6)


def test_only_the_blocks_from_fusion_layer_on_look_at_the_image(params):
    looking = {
        name.split(".")[3] for name in tensors(params) if "text_encoder" in name and "cross" in name
    }
    assert looking == {"2", "3", "4"}


def test_a_tuned_checkpoint_loses_what_is_of_no_use(params):
    state = tensors(params)
    others = ("visual_encoder_m.norm.bias", "text_decoder_m.bert.x", "temp", "itm_head.weight")
    copies = ("text_encoder.embeddings.position_ids", "text_decoder.cls.predictions.decoder.weight")
    found = albef_checkpoint.convert(state | {name: np.ones(1) for name in (*others, *copies)})
    assert found == state


def test_sizes_are_read_off_the_tensors(params):
    config = albef_checkpoint.sizes(tensors(params), load_tokenizer(), head_width=4)
    expected = tiny_albef().config
    assert config.image_size == expected.image_size
    for name in ("hidden_size", "num_hidden_layers", "intermediate_size"):
        for part in ("vision_config", "text_config"):
            assert getattr(getattr(config, part), name) == getattr(getattr(expected, part), name)
    assert config.text_config.fusion_layer == 2


def test_tensors_of_another_model_are_refused():
    with pytest.raises(WeightsError, match="no checkpoint of ALBEF: it lacks"):
        albef_checkpoint.sizes({"bert.x": np.ones(1)}, load_tokenizer(), head_width=64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"selectable": "blocks"}, r"must be one of \['fusion', 'text', 'vision'\]"),
        ({"adapter_size": -1}, "adapter_size = -1, must be at least 0"),
    ],
)
def test_impossible_sizes_are_refused(changes, message):
    with pytest.raises(ConfigError, match=f"ALBEF .*{message}"):
        tiny_albef(**changes)


def test_an_encoder_without_a_block_that_looks_is_refused():
    text = {"num_hidden_layers": 6, "fusion_layer": 6}
    with pytest.raises(ConfigError, match="fusion_layer = 6, must be at most 5"):
        AlbefConfig(text_config=AlbefTextConfig(**text))
