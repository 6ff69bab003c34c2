"""FLOPs of a training step: equal to those of its own trace, close to XLA's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.cost import flops, traffic
from f3ocus_jax.cost.jaxpr_counts import count_flops
from f3ocus_jax.models.base import Model, apply
from f3ocus_jax.models.vilt import FAMILY, model as vilt
from f3ocus_jax.types import Batch
from tests.helpers.xla import xla_flops

WIDTH, BOTTLENECK, LAYERS, ANSWERS, EXAMPLES, TOKENS = 32, 8, 4, 16, 3, 5


def row_at(rows_L, layer):
    """A static slice: a traced index would add a few operations to XLA's count."""
    return jax.tree.map(lambda leaf: leaf[layer], rows_L)


def toy_model():
    """A model of matrix products alone, so that XLA counts nothing that we leave out."""

    def init(key):
        shapes = {
            "embeddings": (WIDTH, WIDTH),
            "blocks": {"a": (LAYERS, WIDTH, 2 * WIDTH), "b": (LAYERS, 2 * WIDTH, WIDTH)},
            "adapters": {
                "down": (LAYERS, WIDTH, BOTTLENECK),
                "up": (LAYERS, BOTTLENECK, WIDTH),
            },
            "readout": (WIDTH, WIDTH),
            "head": (WIDTH, ANSWERS),
        }
        return jax.tree.map(
            lambda shape: jax.random.normal(key, shape),
            shapes,
            is_leaf=lambda value: isinstance(value, tuple),
        )

    return Model(
        num_layers=LAYERS,
        num_answers=ANSWERS,
        init=init,
        embed=lambda weights, batch: (batch.images_BHWC[:, :, :, 0] @ weights, None),
        block=lambda block, adapter, hidden_BTD, context: (
            hidden_BTD @ block["a"] @ block["b"] @ adapter["down"] @ adapter["up"]
        ),
        readout=lambda weights, head, hidden_BTD, context: hidden_BTD[:, 0] @ weights @ head,
    )


@pytest.fixture(scope="module")
def batch():
    return Batch(
        images_BHWC=jnp.ones((EXAMPLES, TOKENS, WIDTH, 1)),
        input_ids_BT=jnp.zeros((EXAMPLES, 2), jnp.int32),
        attention_mask_BT=jnp.ones((EXAMPLES, 2), jnp.int32),
        labels_B=jnp.zeros(EXAMPLES, jnp.int32),
        example_mask_B=jnp.ones(EXAMPLES),
    )


@pytest.mark.parametrize("unit", ["block", "adapter"])
@pytest.mark.parametrize("chosen", [[], [3], [0], [1, 3], [0, 1, 2, 3]])
def test_training_flops_equal_the_unrolled_step_that_differentiates_the_chosen_layers_only(
    unit, chosen, batch
):
    model = toy_model()
    params = model.init(jax.random.key(0))
    key = {"block": "blocks", "adapter": "adapters"}[unit]

    def step(rows, head):
        def forward(rows, head):
            hidden_BTD, context = model.embed(params["embeddings"], batch)
            for layer in range(LAYERS):
                row = {name: row_at(params[name], layer) for name in ("blocks", "adapters")}
                if layer in chosen:
                    row[key] = rows[chosen.index(layer)]
                hidden_BTD = model.block(row["blocks"], row["adapters"], hidden_BTD, context)
            return model.readout(params["readout"], head, hidden_BTD, context)

        outputs, pullback = jax.vjp(forward, rows, head)
        return outputs, pullback(outputs)

    rows = [row_at(params[key], layer) for layer in chosen]
    mask_L = np.isin(np.arange(LAYERS), chosen)
    counted = flops.training_flops(model, params, batch, mask_L, unit)
    assert counted * EXAMPLES == xla_flops(step, rows, params["head"])


def test_forward_flops_are_those_of_the_whole_model(batch):
    model = toy_model()
    params = model.init(jax.random.key(0))
    forward = flops.step_flops(model, params, batch, "adapter").forward
    whole = count_flops(lambda params: apply(model, params, batch), params)
    assert forward * EXAMPLES == whole


def test_step_flops_needs_shapes_only(batch):
    model = toy_model()
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    assert flops.step_flops(model, shapes, batch, "block").forward > 0


def test_an_unknown_unit_is_refused(batch):
    model = toy_model()
    with pytest.raises(ValueError, match=r"'head'.*adapter.*block"):
        flops.step_flops(model, model.init(jax.random.key(0)), batch, "head")


@pytest.mark.extended
def test_vilt_is_counted_within_two_percent_of_xla():
    model = vilt.make_model(FAMILY.spec(FAMILY.config(), num_answers=100, adapter_size=48))
    params = jax.eval_shape(model.init, jax.random.key(0))
    tokens = jax.ShapeDtypeStruct((1, 40), jnp.int32)
    example = Batch(
        images_BHWC=jax.ShapeDtypeStruct((1, 384, 384, 3), jnp.uint8),
        input_ids_BT=tokens,
        attention_mask_BT=tokens,
        labels_B=jax.ShapeDtypeStruct((1,), jnp.int32),
        example_mask_B=jax.ShapeDtypeStruct((1,), jnp.float32),
    )

    def unrolled(params, example):
        hidden_BTD, context = model.embed(params["embeddings"], example)
        for layer in range(model.num_layers):
            rows = (row_at(params["blocks"], layer), row_at(params["adapters"], layer))
            hidden_BTD = model.block(*rows, hidden_BTD, context)
        return model.readout(params["readout"], params["head"], hidden_BTD, context)

    counted = flops.step_flops(model, params, example, "adapter")
    assert counted.forward == pytest.approx(xla_flops(unrolled, params, example), rel=0.02)
    assert traffic.row_parameters(params["adapters"]).tolist() == [74_544] * 12

    def step(trained, params, example):
        return jax.grad(lambda trained: unrolled({**params, **trained}, example).sum())(trained)

    trained = {key: params[key] for key in ("adapters", "head")}
    expected = xla_flops(step, trained, params, example)
    assert counted.training(np.ones(12, bool)) == pytest.approx(expected, rel=0.02)
