"""Runs that cannot fit: refused with the plan's figure, before anything is allocated."""

import re

import jax
import pytest

from f3ocus_jax.config import parsing
from f3ocus_jax.cost import least_memory
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import admission
from f3ocus_jax.federation.settings import PretrainConfig
from f3ocus_jax.models import FAMILIES, foundation
from tests.helpers.configs import raw_config, read_config

TINY = FAMILIES["vilt"].tiny[""](32)


def check(variant="tiny", **settings):
    check_config(read_config(variant, **settings))


def check_config(config):
    tokenizer = load_tokenizer(None, FAMILIES[config.model.family].prompt)
    spec = foundation.specify(config.model, tokenizer)
    admission.check_model(config, spec, Canvas(spec.config.image_size))


@pytest.mark.parametrize(
    ("settings", "blamed"),
    [
        ({"model__architecture": TINY | {"hidden_size": 10**9}}, r"config\.model with .* para"),
        ({"model__architecture": TINY | {"num_hidden_layers": 10**9}}, r"config\.model with"),
        ({"model__architecture": TINY | {"intermediate_size": 10**9}}, r"config\.model with"),
        ({"model__adapter_size": 10**9}, r"config\.model with"),
        ({"model__image_size": 10**9}, r"config\.evaluation\.batch_size = 64 at 1000000000 pix"),
        ({"training__batch_size": 10**9}, r"config\.training\.batch_size = 1000000000 at 32"),
        ({"evaluation__batch_size": 10**9}, r"config\.evaluation\.batch_size = 1000000000 at"),
        (
            {"model__prompt_length": 2**31 - 1, "training__unit": "prompt"},
            r"config\.model with",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_size_of_a_billion_is_refused_with_the_plan(settings, blamed):
    with pytest.raises(ConfigError, match=rf"at least .* GiB of memory, .* GiB .* for {blamed}"):
        check(**settings)


@pytest.mark.parametrize("variant", ["tiny", "tiny_albef", "tiny_llava", "tiny_blip2_t5"])
def test_shipped_sizes_are_admitted(variant):
    check(variant)


def test_a_frozen_head_has_no_gradient_and_no_moments_that_would_need_room(monkeypatch):
    planned = []
    monkeypatch.setattr(
        least_memory, "model_bytes", lambda shapes, *, trained: planned.append(trained) or 0
    )
    for head in ("every_round", "frozen"):
        check(training__head=head)
    assert planned[0] > planned[1] == 0


def test_pretraining_is_planned_with_all_weights_trained(monkeypatch):
    config = parsing.parse(PretrainConfig, raw_config("tiny", task="pretrain"))
    check_config(config)
    tokenizer = load_tokenizer(None, FAMILIES["vilt"].prompt)
    shapes = least_memory.parameter_shapes(foundation.specify(config.model, tokenizer))
    parameters = least_memory.count(shapes)
    monkeypatch.setattr(least_memory, "machine_bytes", lambda: 15 * parameters)
    with pytest.raises(ConfigError, match=r"config\.model with"):
        check_config(config)


@pytest.mark.parametrize("name", ["lora_rank", "prompt_length", "adapter_size"])
def test_pretraining_adds_no_weights(name):
    raw = raw_config("tiny", task="pretrain", **{f"model__{name}": 4})
    with pytest.raises(ConfigError, match=rf"model.{name} = 4, must be 0: "):
        parsing.parse(PretrainConfig, raw)


def test_a_population_counts_with_clients_and_layers(monkeypatch):
    config = read_config("tiny")
    rows_L = {"weight": jax.ShapeDtypeStruct((4, 3), "float32")}
    monkeypatch.setattr(least_memory, "machine_bytes", lambda: 16 * 9 * 4)
    admission.check_state(config, rows_L, {}, 9)
    with pytest.raises(ConfigError, match=r"config\.selection\.population = 16"):
        admission.check_state(config, rows_L, {}, 10)


def test_adapters_of_their_own_count_with_clients(monkeypatch):
    config = read_config("tiny", training__dual_adapters=True)
    rows_L = {"weight": jax.ShapeDtypeStruct((4, 300), "float32")}
    monkeypatch.setattr(least_memory, "machine_bytes", lambda: 9 * 4 * (4 * 300 + 16))
    admission.check_state(config, rows_L, {}, 9)
    with pytest.raises(ConfigError, match=r"config\.training\.dual_adapters = True"):
        admission.check_state(config, rows_L, {}, 10)


def test_a_batch_is_its_images_and_one_hidden_state():
    spec = foundation.specify(
        read_config("tiny").model, load_tokenizer(None, FAMILIES["vilt"].prompt)
    )
    images, hidden = 2 * 32 * 32 * 3, 2 * 20 * 32
    assert least_memory.batch_bytes(spec, 2, 20, 32) == 5 * images + 4 * hidden


def test_the_memory_of_this_machine_is_that_of_the_host_or_less_in_a_container(
    monkeypatch, tmp_path
):
    whole = least_memory.machine_bytes()
    assert whole > 2**30
    limit = tmp_path / "memory.max"
    limit.write_text("1048576\n")
    monkeypatch.setattr(least_memory, "CONTROL_GROUP", limit)
    assert least_memory.machine_bytes() == 2**20
    limit.write_text("max\n")
    assert least_memory.machine_bytes() >= whole


@pytest.mark.parametrize(
    ("settings", "held"),
    [
        ({"training__optimizer_state": "kept"}, 2 * (4 * 300 + 50)),
        ({"training__head": "personal"}, 50),
        ({"training__controls": True, "training__optimizer": "sgd"}, 4 * 300 + 50),
    ],
    ids=["moments", "heads", "controls"],
)
def test_what_clients_keep_counts_with_clients(settings, held, monkeypatch):
    config = read_config("tiny", **settings, selection__population=2)
    rows_L = {"weight": jax.ShapeDtypeStruct((4, 300), "float32")}
    head = {"weight": jax.ShapeDtypeStruct((50,), "float32")}
    monkeypatch.setattr(least_memory, "machine_bytes", lambda: 9 * (4 * held + 2 * 4))
    admission.check_state(config, rows_L, head, 9)
    name, value = next(iter(settings.items()))
    quoted = f'"{value}"' if isinstance(value, str) else value
    wanted = f"config.{name.replace('__', '.')} = {quoted}"
    with pytest.raises(ConfigError, match=re.escape(wanted)):
        admission.check_state(config, rows_L, head, 10)
