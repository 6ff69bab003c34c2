import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.clients import gradient
from f3ocus_jax.models import base, losses, units
from f3ocus_jax.models.blocks import prompts
from f3ocus_jax.models.vilt import model as vilt
from tests.helpers.choices import padded_choice
from tests.helpers.families import with_lora
from tests.helpers.marking import marked
from tests.helpers.models import tiny_batch, tiny_vilt
from tests.helpers.oracles import toy_batch, toy_model

LAYERS = 5
CHOICES = {
    "none": [],
    "top": [4],
    "bottom": [0],
    "spread": [0, 2, 4],
    "all": [0, 1, 2, 3, 4],
    "beside each other": [1, 2],
}


def full_autodiff(model, unit, params, batch):
    """Gradient of every row and of the head by plain autodiff of the scanned model."""
    frozen, rows_L, head = units.split(params, unit)

    def objective(rows_L, head):
        logits_BC = base.apply(model, units.join(frozen, rows_L, head, unit), batch)
        return losses.masked_mean(losses.LOSSES["cross_entropy"](logits_BC, batch.labels_B), batch)

    return jax.jit(jax.value_and_grad(objective, argnums=(0, 1)))(rows_L, head)


def check_against_autodiff(
    model, unit, params, batch, layers, *, slots=LAYERS, atol=1e-6, rtol=1e-7, **settings
):
    """Gradients of the chosen rows and the head are autodiff's; unused slots have none."""
    frozen, rows_L, head = units.split(params, unit)
    choice = padded_choice(layers, slots, model.num_layers)
    differentiate = jax.jit(
        gradient.make_gradient(model, unit=unit, loss="cross_entropy", **settings)
    )
    trained = (choice.take(rows_L), head)
    value, (gradient_R, head_gradient) = differentiate(frozen, rows_L, choice, trained, batch)
    expected, (expected_L, expected_head) = full_autodiff(model, unit, params, batch)

    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert jax.tree.structure(gradient_R) == jax.tree.structure(expected_L)
    for leaf, whole in zip(*map(jax.tree.leaves, (gradient_R, expected_L)), strict=True):
        chosen = np.asarray(whole)[layers]
        np.testing.assert_allclose(leaf[: len(layers)], chosen, atol=atol, rtol=rtol)
        assert not np.any(leaf[len(layers) :])
    for leaf, whole in zip(*map(jax.tree.leaves, (head_gradient, expected_head)), strict=True):
        np.testing.assert_allclose(leaf, whole, atol=1e-6)


def half_padding(examples):
    batch = toy_batch(examples)
    mask_B = np.ones(examples, np.float32)
    mask_B[3] = 0
    return batch.replace(example_mask_B=mask_B)


@pytest.mark.parametrize("skip_frozen", [True, False], ids=["skipping", "vectorised"])
@pytest.mark.parametrize("unit", ["adapter", "block"])
@pytest.mark.parametrize("layers", CHOICES.values(), ids=CHOICES.keys())
def test_gradient_equals_full_autodiff_on_the_chosen_rows(layers, unit, skip_frozen):
    model = toy_model(layers=LAYERS)
    params = model.init(jax.random.key(0))
    check_against_autodiff(model, unit, params, half_padding(6), layers, skip_frozen=skip_frozen)


@pytest.mark.parametrize(
    "settings",
    [
        {"rematerialise": True},
        {"accumulate": 3},
        {"accumulate": 6, "rematerialise": True, "skip_frozen": False},
    ],
    ids=["rematerialised", "accumulated", "both, vectorised"],
)
@pytest.mark.parametrize("unit", ["adapter", "block"])
@pytest.mark.parametrize(
    "layers",
    [
        pytest.param([1, 3], id="spread"),
        pytest.param([0], id="bottom", marks=pytest.mark.slow),
        pytest.param([], id="none", marks=pytest.mark.slow),
    ],
)
def test_less_memory_gives_the_same_gradient(layers, unit, settings):
    """Of the six examples one is padding, so parts of the batch count differently."""
    model = toy_model(layers=LAYERS)
    params = model.init(jax.random.key(0))
    settings = {"skip_frozen": True} | settings
    check_against_autodiff(model, unit, params, half_padding(6), layers, **settings)


@pytest.mark.parametrize(
    "rematerialise",
    [
        pytest.param(False, id="kept"),
        pytest.param(True, id="rematerialised", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    "unit",
    marked(
        ["adapter", "bias", "block", "lora", "norm"], extended=("adapter", "bias", "lora", "norm")
    ),
)
def test_gradient_of_every_unit_of_a_vilt_equals_full_autodiff(unit, rematerialise):
    config = tiny_vilt()
    model = vilt.make_model(config)
    params = with_lora(model.init(jax.random.key(0)))
    params = jax.tree.map(
        lambda leaf: leaf + 0.05 * jnp.cos(jnp.arange(leaf.size) + 1.0).reshape(leaf.shape), params
    )
    settings = {"skip_frozen": True, "rematerialise": rematerialise, "slots": 3}
    check_against_autodiff(model, unit, params, tiny_batch(config), [0, 2], **settings)


@pytest.mark.parametrize("layers", [[0], []], ids=["the prompt", "none"])
def test_gradient_of_a_prompt_equals_full_autodiff(layers):
    config = tiny_vilt()
    model = prompts.make_prompted_model(vilt.make_model(config), tokens=2, width=16)
    params, batch = model.init(jax.random.key(0)), tiny_batch(config)
    # Its gradients are sums over the batch, up to 0.8, which two programs add in another order.
    settings = {"slots": 1, "atol": 2e-6, "rtol": 1e-5, "skip_frozen": True}
    check_against_autodiff(model, "prompt", params, batch, layers, **settings)


@pytest.mark.extended
def test_rematerialisation_keeps_one_hidden_state_per_layer():
    config = tiny_vilt()
    model, batch = vilt.make_model(config), tiny_batch(config)
    frozen, rows_L, head = units.split(model.init(jax.random.key(0)), "adapter")
    choice = padded_choice([0], 1, 3)

    def temporary_bytes(rematerialise):
        differentiate = gradient.make_gradient(
            model,
            unit="adapter",
            loss="cross_entropy",
            skip_frozen=True,
            rematerialise=rematerialise,
        )
        arguments = (frozen, rows_L, choice, (choice.take(rows_L), head), batch)
        memory = jax.jit(differentiate).lower(*arguments).compile().memory_analysis()
        return memory.temp_size_in_bytes

    assert temporary_bytes(True) < 0.7 * temporary_bytes(False)


def test_the_client_own_rows_are_used_not_the_server_ones():
    model, batch = toy_model(layers=LAYERS), toy_batch(6)
    params = model.init(jax.random.key(0))
    frozen, rows_L, head = units.split(params, "block")
    choice = padded_choice([1, 3], slots=3)
    mine = jax.tree.map(lambda leaf: 1.5 * leaf, choice.take(rows_L))
    moved = jax.tree.map(lambda leaf: leaf.at[jnp.array([1, 3])].mul(1.5), rows_L)
    differentiate = gradient.make_gradient(
        model, unit="block", loss="cross_entropy", skip_frozen=True
    )
    value, _ = differentiate(frozen, rows_L, choice, (mine, head), batch)
    expected, _ = full_autodiff(model, "block", units.join(frozen, moved, head, "block"), batch)
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_another_choice_of_layers_compiles_nothing_new():
    model, batch = toy_model(layers=LAYERS), toy_batch(4)
    frozen, rows_L, head = units.split(model.init(jax.random.key(0)), "block")
    differentiate = jax.jit(
        gradient.make_gradient(model, unit="block", loss="cross_entropy", skip_frozen=True)
    )
    for layers in ([0, 1], [3], [2, 4], []):
        choice = padded_choice(layers, slots=2)
        differentiate(frozen, rows_L, choice, (choice.take(rows_L), head), batch)
    assert differentiate._cache_size() == 1
