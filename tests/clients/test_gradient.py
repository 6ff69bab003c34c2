import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.clients import gradient
from f3ocus_jax.clients.gradient import Choice
from f3ocus_jax.models import base, losses, trainable
from tests.oracles import toy_batch, toy_model

LAYERS = 5
CHOICES = {
    "none": [],
    "top": [4],
    "bottom": [0],
    "spread": [0, 2, 4],
    "all": [0, 1, 2, 3, 4],
    "beside each other": [1, 2],
}


def padded_choice(layers, places=LAYERS):
    return Choice(jnp.array(layers + [LAYERS] * (places - len(layers)), jnp.int32))


def full_autodiff(model, unit, params, batch):
    """Gradient of every row and of the head by plain autodiff of the scanned model."""
    frozen, rows_L, head = trainable.split(params, unit)

    def objective(rows_L, head):
        logits_BC = base.apply(model, trainable.join(frozen, rows_L, head, unit), batch)
        return losses.masked_mean(losses.LOSSES["cross_entropy"](logits_BC, batch.labels_B), batch)

    return jax.value_and_grad(objective, argnums=(0, 1))(rows_L, head)


@pytest.mark.parametrize("skip_frozen", [True, False], ids=["skipping", "vectorised"])
@pytest.mark.parametrize("unit", ["adapter", "block"])
@pytest.mark.parametrize("layers", CHOICES.values(), ids=CHOICES.keys())
def test_gradient_equals_full_autodiff_on_the_chosen_rows(layers, unit, skip_frozen):
    model, batch = toy_model(layers=LAYERS), toy_batch(6)
    batch = batch.replace(example_mask_B=np.array([1, 1, 1, 0, 1, 1], np.float32))
    params = model.init(jax.random.key(0))
    frozen, rows_L, head = trainable.split(params, unit)
    choice = padded_choice(layers)
    differentiate = jax.jit(
        gradient.create(model, unit=unit, loss="cross_entropy", skip_frozen=skip_frozen)
    )
    trained = (choice.take(rows_L), head)
    value, (gradient_R, head_gradient) = differentiate(frozen, rows_L, choice, trained, batch)
    expected, (expected_L, expected_head) = full_autodiff(model, unit, params, batch)

    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for name, leaf in gradient_R.items():
        chosen = np.asarray(expected_L[name])[layers]
        np.testing.assert_allclose(leaf[: len(layers)], chosen, atol=1e-6)
        assert not np.any(leaf[len(layers) :])
    for name, leaf in head_gradient.items():
        np.testing.assert_allclose(leaf, expected_head[name], atol=1e-6)


def test_the_client_own_rows_are_used_not_the_server_ones():
    model, batch = toy_model(layers=LAYERS), toy_batch(6)
    params = model.init(jax.random.key(0))
    frozen, rows_L, head = trainable.split(params, "block")
    choice = padded_choice([1, 3], places=3)
    mine = jax.tree.map(lambda leaf: 1.5 * leaf, choice.take(rows_L))
    moved = jax.tree.map(lambda leaf: leaf.at[jnp.array([1, 3])].mul(1.5), rows_L)
    differentiate = gradient.create(model, unit="block", loss="cross_entropy", skip_frozen=True)
    value, _ = differentiate(frozen, rows_L, choice, (mine, head), batch)
    expected, _ = full_autodiff(model, "block", trainable.join(frozen, moved, head, "block"), batch)
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_another_choice_of_layers_compiles_nothing_new():
    model, batch = toy_model(layers=LAYERS), toy_batch(4)
    frozen, rows_L, head = trainable.split(model.init(jax.random.key(0)), "block")
    differentiate = jax.jit(
        gradient.create(model, unit="block", loss="cross_entropy", skip_frozen=True)
    )
    for layers in ([0, 1], [3], [2, 4], []):
        choice = padded_choice(layers, places=2)
        differentiate(frozen, rows_L, choice, (choice.take(rows_L), head), batch)
    assert differentiate._cache_size() == 1
