"""Each score against its definition, written out in NumPy over dense gradients and Hessians."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from f3ocus_jax.importance import probe as probe_lib, spt
from f3ocus_jax.models import base, units
from f3ocus_jax.models.vilt import model as vilt
from tests.helpers.marking import marked
from tests.helpers.models import random_params, tiny_batch, tiny_vilt
from tests.helpers.oracles import toy_batch, toy_model
from tests.helpers.scores import make_score

LAYERS, EXAMPLES, BATCHES = 3, 5, 2
MODEL = toy_model(layers=LAYERS, width=4)
BATCH = toy_batch(EXAMPLES)
UNITS = ("adapter", "block")


def taken(name, unit, batch=BATCH, params=None, model=MODEL, **changes):
    score = make_score(name, model, unit=unit, probe_batches=BATCHES, **changes)
    params = model.init(jax.random.key(0)) if params is None else params
    return np.asarray(jax.jit(score)(*units.split(params, unit), batch, jax.random.key(1)).values_L)


def in_float64(params):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)


class Dense:
    """The loss as a function of one flat float64 vector θ [L · p], and its derivatives."""

    def __init__(self, unit):
        params = in_float64(MODEL.init(jax.random.key(0)))
        frozen, rows_L, head = units.split(params, unit)
        stacked = jax.tree.map(lambda leaf: leaf.reshape(LAYERS, -1), rows_L)
        self.theta = np.concatenate(jax.tree.leaves(stacked), axis=1).ravel()

        def rows_of(theta):
            leaves, treedef = jax.tree.flatten(rows_L)
            parts = np.cumsum([leaf[0].size for leaf in leaves])[:-1]
            flat = jnp.split(theta.reshape(LAYERS, -1), parts, axis=1)
            return jax.tree.unflatten(
                treedef, [part.reshape(leaf.shape) for part, leaf in zip(flat, leaves, strict=True)]
            )

        def loss(theta, examples):
            """Mean negative log-probability of some examples, written out again."""
            whole = units.join(frozen, rows_of(theta), head, unit)
            logits_BC = base.apply(MODEL, whole, BATCH)
            log_BC = logits_BC - jax.scipy.special.logsumexp(logits_BC, axis=1, keepdims=True)
            picked = [-log_BC[n, int(BATCH.labels_B[n])] for n in examples]
            return sum(picked) / len(picked)

        self.loss = loss

    def gradient(self, examples=range(EXAMPLES)):
        return self._in_float64(jax.grad(self.loss), examples)

    def hessian(self):
        return self._in_float64(jax.hessian(self.loss), range(EXAMPLES))

    def _in_float64(self, derivative, examples):
        with jax.enable_x64(True):
            jitted = jax.jit(derivative, static_argnums=1)
            return np.asarray(jitted(jnp.asarray(self.theta), tuple(examples)))


def by_layer(vector):
    return np.asarray(vector).reshape(LAYERS, -1)


def norm(vector):
    return np.linalg.norm(by_layer(vector), axis=1)


def batches():
    """The probe examples as they are dealt, in turn."""
    return [list(range(start, EXAMPLES, BATCHES)) for start in range(BATCHES)]


def grasp(dense):
    return by_layer(dense.theta * (dense.hessian() @ dense.gradient())).sum(axis=1)


def fishmask(dense):
    return np.mean([norm(dense.gradient([n])) ** 2 for n in range(EXAMPLES)], axis=0)


def rgn(dense):
    return np.mean([norm(dense.gradient(some)) / norm(dense.theta) for some in batches()], axis=0)


DEFINITIONS = {
    "magnitude": lambda dense: norm(dense.theta),
    "snip": lambda dense: np.abs(by_layer(dense.theta * dense.gradient())).sum(axis=1),
    "grasp": grasp,
    "gradflow": lambda dense: norm(dense.gradient()),
    "squared_gradient": lambda dense: norm(dense.gradient()) ** 2,
    "gradflow_preserve": lambda dense: np.abs(grasp(dense)),
    "fishmask": fishmask,
    "rgn": rgn,
}


@pytest.mark.parametrize("unit", marked(UNITS, extended=("block",)))
@pytest.mark.parametrize("name", DEFINITIONS)
def test_score_agrees_with_its_definition_in_float64(name, unit):
    expected = DEFINITIONS[name](Dense(unit))
    np.testing.assert_allclose(taken(name, unit), expected, rtol=2e-4, atol=1e-6)


def test_the_dense_hessian_is_the_slope_of_the_gradient():
    """The oracle itself against central differences of gradients."""
    dense, step = Dense("adapter"), 1e-5
    direction = np.random.default_rng(0).normal(size=dense.theta.size)
    expected, start = dense.hessian() @ direction, dense.theta
    dense.theta = start + step * direction
    above = dense.gradient()
    dense.theta = start - step * direction
    np.testing.assert_allclose(
        (above - dense.gradient()) / (2 * step), expected, rtol=1e-5, atol=1e-8
    )


@pytest.mark.parametrize(
    ("name", "power"),
    [
        ("snip", 1),
        ("grasp", 1),
        ("fishmask", 1),
        ("gradflow", 0.5),
        ("rgn", 0),
        ("squared_gradient", 1),
    ],
)
def test_mean_divides_by_the_elements_of_a_layer(name, power):
    """A norm becomes a root mean square, and a ratio of norms stays."""
    elements = by_layer(Dense("block").theta).shape[1]
    expected = taken(name, "block") / elements**power
    np.testing.assert_allclose(taken(name, "block", reduction="mean"), expected, rtol=1e-5)


@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("unit", UNITS)
def test_spt_counts_the_top_of_all_elements(unit, share):
    dense = Dense(unit)
    squared = sum(dense.gradient(some) ** 2 for some in batches())
    places = int(np.ceil(share * squared.size))
    top = np.zeros(squared.size)
    top[np.argsort(-squared, kind="stable")[:places]] = 1
    if np.sort(squared)[-places] == 0:
        pytest.skip("more places than elements with a gradient: see the test of ties")
    np.testing.assert_allclose(
        taken("spt", unit, share=share), by_layer(top).sum(axis=1), rtol=1e-6
    )


@pytest.mark.parametrize("places", [1, 2, 5, 6, 7, 20])
def test_kth_largest_agrees_with_sorting(places):
    draw = np.random.default_rng(places)
    values = np.concatenate([np.exp(8 * draw.normal(size=15)), [0.0, 0.0, 3.0, 3.0, 3.0]])
    values = draw.permutation(values).astype(np.float32)
    tree = {"a": jnp.asarray(values[:8].reshape(2, 4)), "b": jnp.asarray(values[8:])}
    assert jax.jit(spt.kth_largest, static_argnums=1)(tree, places) == np.sort(values)[-places]


def probe_of(gradient_L):
    """A probe whose loss is linear, so that its gradient is given."""
    rows_L = {"w": jnp.zeros(gradient_L.shape)}
    return probe_lib.Probe(
        rows_L=rows_L,
        head={},
        batch=BATCH,
        batches_J=probe_lib.deal(BATCH, 1),
        loss=lambda rows, head, batch: jnp.sum(rows["w"] * gradient_L),
        reduction="sum",
    )


def test_spt_shares_the_last_places_among_ties():
    """Four of twelve: one is above, three places for the six that tie."""
    gradient = jnp.array([[5.0, 2, 2, 1], [2, 2, 1, 1], [2, -2, 1, 0]])
    values_L = jax.jit(lambda: spt.top_elements(probe_of(gradient), share=4 / 12))()
    np.testing.assert_allclose(values_L, [1 + 2 * 0.5, 2 * 0.5, 2 * 0.5], rtol=1e-6)


def test_spt_of_gradients_that_all_tie_is_uniform():
    values_L = spt.top_elements(probe_of(jnp.ones((3, 4))), share=0.5)
    np.testing.assert_allclose(values_L, [2, 2, 2], rtol=1e-6)


def test_spt_names_a_gradient_that_is_not_finite():
    values_L = spt.top_elements(probe_of(jnp.ones((3, 4)).at[1, 2].set(jnp.nan)), share=0.5)
    np.testing.assert_array_equal(np.isnan(values_L), [False, True, False])


@pytest.mark.parametrize("unit", UNITS)
def test_fedselect_agrees_with_plain_gradient_descent(unit):
    """One step of it moves a layer by the learning rate times its gradient, exactly."""
    expected = 0.1 * norm(Dense(unit).gradient(batches()[0]))
    found = taken("fedselect", unit, optimizer=optax.sgd(0.1), steps=1)
    np.testing.assert_allclose(found, expected, rtol=2e-4)


def test_fedselect_trains_on_the_batches_in_turn_with_the_head():
    """Three steps, the last on the first batch again, against a plain Python loop."""
    params, unit = MODEL.init(jax.random.key(0)), "block"
    frozen, rows_L, head = units.split(params, unit)
    trained = (rows_L, head)
    for number in range(3):
        dealt = np.array(batches()[number % BATCHES])
        part = jax.tree.map(lambda leaf, dealt=dealt: leaf[dealt], BATCH)

        def loss(trained, part=part):
            logits_BC = base.apply(MODEL, units.join(frozen, *trained, unit), part)
            right_B = jax.nn.log_softmax(logits_BC)[np.arange(len(part.labels_B)), part.labels_B]
            return -jnp.mean(right_B)

        trained = jax.tree.map(lambda w, g: w - 0.5 * g, trained, jax.jit(jax.grad(loss))(trained))
    moved = jax.tree.map(lambda a, b: np.asarray(a - b).reshape(LAYERS, -1), trained[0], rows_L)
    expected = np.linalg.norm(np.concatenate(jax.tree.leaves(moved), axis=1), axis=1)
    found = taken("fedselect", unit, optimizer=optax.sgd(0.5), steps=3)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("unit", UNITS)
def test_synflow_agrees_with_finite_differences(unit):
    """Of every element, in float64, on a ViLT with its LayerNorms."""
    config = tiny_vilt(num_hidden_layers=2, hidden_size=8, intermediate_size=8, adapter_size=2)
    model, batch = vilt.make_model(config), tiny_batch(config)
    params = random_params(model)
    ones = jax.tree.map(lambda leaf: np.ones_like(leaf[:1]), batch)
    ones = ones.replace(images_BHWC=np.ones(ones.images_BHWC.shape, np.float32))
    absolute = jax.tree.map(np.abs, in_float64(params))
    frozen, rows_L, head = units.split(absolute, unit)

    def slope(place):
        def outputs(step):
            rows_L = rows_of(flat.at[place].add(step))
            whole = units.join(frozen, rows_L, head, unit)
            return jnp.sum(base.apply(model, whole, ones))

        return (outputs(1e-4) - outputs(-1e-4)) / 2e-4

    with jax.enable_x64(True):
        flat, rows_of = jax.flatten_util.ravel_pytree(rows_L)
        slopes = jax.jit(lambda: jax.lax.map(slope, jnp.arange(flat.size), batch_size=64))()
        saliency = jax.tree.map(np.asarray, rows_of(jnp.abs(flat * slopes)))
    leaves = [leaf.reshape(len(leaf), -1).sum(axis=1) for leaf in jax.tree.leaves(saliency)]
    found = taken("synflow", unit, batch, params, model)
    np.testing.assert_allclose(found, sum(leaves), rtol=1e-3)


@pytest.mark.parametrize("sized", [False, True])
def test_the_input_of_synflow_is_as_large_as_the_canvas(sized, monkeypatch):
    """Its height and width differ; batches without sizes of images get none."""
    seen = []

    def apply(model, params, ones):
        seen.append(ones)
        return jnp.sum(params["adapters"]["up"])

    monkeypatch.setattr(base, "apply", apply)
    batch = BATCH.replace(images_BHWC=np.zeros((len(BATCH.labels_B), 4, 6, 3), np.uint8))
    if sized:
        batch = batch.replace(image_size_B2=np.full((len(BATCH.labels_B), 2), 3, np.int32))
    parts = units.split(MODEL.init(jax.random.key(0)), "adapter")
    make_score("synflow", MODEL, unit="adapter")(*parts, batch, jax.random.key(1))
    np.testing.assert_array_equal(seen[0].images_BHWC, np.ones((1, 4, 6, 3)))
    sizes = seen[0].image_size_B2
    assert sizes is None if not sized else np.asarray(sizes).tolist() == [[4, 6]]


@pytest.mark.extended
def test_synflow_fills_a_canvas_with_its_image():
    config = tiny_vilt()
    model, batch = vilt.make_model(config), tiny_batch(config)
    params = random_params(model)
    small = batch.replace(image_size_B2=np.full((len(batch.labels_B), 2), 8, np.int32))
    found, expected = (taken("synflow", "adapter", b, params, model) for b in (small, batch))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
