"""Every method of the paper's PEFT table goes through a federation, a resumed one too."""

import chex
import jax
import numpy as np
import pytest
from flax import traverse_util

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import costs, experiment, presets, run_folder
from f3ocus_jax.models import base, family_of, units
from f3ocus_jax.models.blocks import prompts
from f3ocus_jax.models.huggingface import directory as huggingface, extra_files, peft_layout
from tests.helpers.configs import read_config, without_times
from tests.helpers.marking import marked

LAYERS = 4
METHODS = tuple(presets.PEFT_UNITS)


SLOW = ("adap", "bias", "ln", "promptfl")
"""Gradients of every unit are compared with autodiff's in `clients/test_gradient.py`."""


@pytest.mark.parametrize("method", marked(METHODS, SLOW, extended=("feddat", "full", "lora")))
def test_a_round_trains_its_unit_in_every_layer_and_nothing_else(method, data_dir):
    parts = experiment.assemble(read_config(f"tiny_{method}", data_dir))
    state, _, record = experiment.next_round(parts, parts.start, parts.memory)
    layers = range(parts.foundation.model.num_layers)
    assert {tuple(client.layers) for client in record.clients} == {tuple(layers)}
    assert all(np.isfinite(client.train_loss) for client in record.clients)
    unit = presets.PEFT_UNITS[method]
    check_that_only_the_unit_moved(unit, parts.params(parts.start), parts.params(state))


@pytest.mark.extended
def test_two_rounds_of_products_equal_a_run_that_is_resumed_after_the_first(data_dir, tmp_path):
    settings = {"aggregation__low_rank": "product", "federated__placement": "map"}
    config = read_config("tiny_lora", data_dir, **settings)
    whole = experiment.run(config, tmp_path / "whole", with_figures=False)
    half = read_config("tiny_lora", data_dir, federated__rounds=1, **settings)
    for each in (half, config):
        records = experiment.run(each, tmp_path / "parts", with_figures=False)
    assert without_times(records) == without_times(whole)
    assert all(np.isfinite(client.train_loss) for client in records[-1].clients)
    rows = run_folder.load_model(tmp_path / "whole", 2).params["lora"]
    for path, leaf in traverse_util.flatten_dict(rows).items():
        if path[-1] == "down":  # the maps of a factorised product
            grams = np.einsum("ldr,lds->lrs", leaf, leaf)
            np.testing.assert_allclose(grams, np.broadcast_to(np.eye(16), grams.shape), atol=1e-4)


@pytest.mark.extended
def test_adapters_of_a_client_are_its_own_and_stay_when_it_misses_a_round(data_dir):
    config = read_config("tiny_feddat", data_dir, federated__absent={"fundus": (2,)})
    parts = experiment.assemble(config)
    fundus = [client.name for client in parts.federation.clients].index("fundus")
    state, first, record = experiment.next_round(parts, parts.start, parts.memory)
    _, second, _ = experiment.next_round(parts, state, first)
    before, after, later = (
        np.asarray(jax.tree.leaves(memory.personal_L)[-1])
        for memory in (parts.memory, first, second)
    )
    assert len(after) == len(parts.federation.clients)
    others = np.arange(len(after)) != fundus
    assert (after != before).any(axis=tuple(range(1, after.ndim))).all()
    assert all((after[fundus] != after[other]).any() for other in np.flatnonzero(others))
    np.testing.assert_array_equal(later[fundus], after[fundus])
    assert (later != after).any(axis=tuple(range(1, after.ndim)))[others].all()
    (cost, *_), (plain, *_) = (
        costs.count_client_costs(of.foundation, of.federation.clients, of.config, server, [record])
        for of, server in ((parts, state), plain_round(data_dir))
    )
    assert cost.megabits_up == plain.megabits_up  # only one of the two adapters travels
    assert cost.trainable_parameters == 2 * plain.trainable_parameters
    assert 1.9 < cost.gigaflops_per_example / plain.gigaflops_per_example < 2.3


def plain_round(data_dir):
    """The same federation with one adapter per layer."""
    parts = experiment.assemble(read_config("tiny_adap", data_dir))
    return parts, parts.start


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_rounds_at_once_equal_a_run_that_is_resumed_after_the_first(method, data_dir, tmp_path):
    variant = f"tiny_{method}"
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = experiment.run(read_config(variant, data_dir), tmp_path / "whole")
    first = experiment.run(read_config(variant, data_dir, federated__rounds=1), tmp_path / "parts")
    both = experiment.run(read_config(variant, data_dir), tmp_path / "parts")
    assert [record.round for record in both] == [0, 1, 2]
    assert without_times(first) == without_times(whole)[:2]
    assert without_times(both) == without_times(whole)
    saved = run_folder.load_model(tmp_path / "whole", 2)
    foundation, params = saved.foundation, saved.params
    unit = presets.PEFT_UNITS[method]
    check_that_only_the_unit_moved(unit, foundation.params, params)
    check_the_exported_model(tmp_path / "whole", params, data_dir, variant)


def check_that_only_the_unit_moved(unit, before, after):
    """Rows of every layer moved, frozen parameters did not by a bit."""
    (frozen, rows_L, _), (frozen_after, rows_after_L, _) = (
        units.split(params, unit) for params in (before, after)
    )
    chex.assert_trees_all_equal(frozen, frozen_after)
    old, new = (traverse_util.flatten_dict(rows) for rows in (rows_L, rows_after_L))
    for layer in range(1 if unit == "prompt" else LAYERS):
        assert any((old[path][layer] != new[path][layer]).any() for path in old)


def check_the_exported_model(workdir, params, data_dir, variant):
    """The directory of the final model answers as the federation's own parameters do."""
    parts = experiment.assemble(read_config(variant, data_dir))
    batch = parts.federation.clients[0].test.batch(np.arange(4))
    apply = jax.jit(base.apply, static_argnums=0)
    expected = apply(parts.foundation.model, params, batch)
    exported = huggingface.load(workdir / "model", key=jax.random.key(0))
    model, found = (
        family_of(exported.spec).make_model(exported.spec),
        exported.params,
    )
    has_changes = parts.config.model.lora_rank > 0
    assert (workdir / "model" / peft_layout.FOLDER).is_dir() == has_changes
    length = parts.config.model.prompt_length
    if length:
        stack, width = exported.spec.setup.selectable, exported.spec.stack.width
        tokens_PD = extra_files.read_prompt(workdir / "model", stack, length)
        model, found = (
            prompts.make_prompted_model(model, tokens=length, width=width),
            prompts.add_prompt(found, tokens_PD),
        )
    np.testing.assert_allclose(apply(model, found, batch), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("variant", "settings", "message"),
    [
        ("tiny_lora", {"model__lora_rank": 0}, "lora_rank = 0, must be > 0 where"),
        ("tiny_ln", {"model__lora_rank": 4}, "lora_rank = 4, must be > 0 where.*0 elsewhere"),
        ("tiny", {"aggregation__low_rank": "product"}, "unit = 'adapter', must be 'lora' with"),
        (
            "tiny_lora",
            {"aggregation__low_rank": "product", "training__optimizer_state": "kept"},
            "optimizer_state = 'kept', must be 'reset' with",
        ),
        ("tiny", {"training__unit": "head"}, "unit = 'head', must be one of"),
        ("tiny_promptfl", {"model__prompt_length": 0}, "prompt_length = 0, must be > 0 where"),
        ("tiny", {"training__accumulate": 3}, "accumulate = 3, must be a divisor of .* = 8"),
        ("tiny", {"training__precision": "float16"}, "precision = 'float16', must be one of"),
        ("tiny", {"training__head": "thawed"}, "training.head = 'thawed', must be one of"),
        (
            "tiny",
            {"training__head": "frozen", "model__answering": "generate"},
            "training.head = 'frozen', must be 'every_round' where .*answering = 'generate'",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(variant, settings, message, data_dir):
    with pytest.raises(ConfigError, match=message):
        read_config(variant, data_dir, **settings)
