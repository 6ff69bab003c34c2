"""ViLT against logits and gradients that torch gave (see tests/parity/write_fixtures.py)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.importance.methods import METHODS
from f3ocus_jax.models import FAMILIES, base, units
from f3ocus_jax.models.blocks import adapters, vision
from f3ocus_jax.models.huggingface import directory as huggingface, layout
from f3ocus_jax.models.losses import binary_cross_entropy, masked_mean
from f3ocus_jax.models.vilt import model as vilt, tensors as vilt_layout
from f3ocus_jax.models.vilt.config import ViltConfig
from f3ocus_jax.types import Batch
from tests.helpers.models import random_params, tiny_batch, tiny_vilt
from tests.helpers.paths import MODEL_FIXTURES
from tests.helpers.scores import make_score

pytestmark = pytest.mark.usefixtures("full_precision")

FIXTURES = sorted((MODEL_FIXTURES / "vilt").iterdir())

apply = jax.jit(base.apply, static_argnums=0)


@pytest.fixture(params=FIXTURES, ids=lambda path: path.name)
def case(request):
    weights = huggingface.load(request.param, key=jax.random.key(0))
    expected = load_file(request.param / "expected.safetensors")
    batch = Batch(**{name[6:]: expected[name] for name in expected if name.startswith("batch.")})
    return weights, batch, expected


def test_logits_equal_those_of_torch(case):
    weights, batch, expected = case
    logits_BC = apply(vilt.make_model(weights.spec), weights.params, batch)
    np.testing.assert_allclose(logits_BC, expected["logits_BC"], atol=1e-5)


def test_gradients_of_the_loss_equal_those_of_torch(case):
    weights, batch, expected = case
    model = vilt.make_model(weights.spec)

    def loss(params):
        logits_BC = base.apply(model, params, batch)
        return masked_mean(binary_cross_entropy(logits_BC, batch.labels_B), batch)

    gradients = layout.to_huggingface(
        vilt_layout.tensors(weights.spec.config), jax.jit(jax.grad(loss))(weights.params)
    )
    compared = [name[9:] for name in expected if name.startswith("gradient.")]
    assert len(compared) >= 5
    for name in compared:
        wanted = expected[f"gradient.{name}"]
        np.testing.assert_allclose(gradients[name], wanted, atol=1e-4, err_msg=name)


def test_padding_of_the_question_changes_nothing():
    spec = tiny_vilt()
    model, batch = vilt.make_model(spec), tiny_batch(spec, examples=2, tokens=8)
    params = random_params(model)
    other_ids = np.where(batch.attention_mask_BT > 0, batch.input_ids_BT, 7)
    changed = batch.replace(input_ids_BT=other_ids)
    logits_BC, changed_BC = (apply(model, params, b) for b in (batch, changed))
    np.testing.assert_array_equal(logits_BC, changed_BC)


def test_pixels_as_integers_equal_the_same_pixels_normalised_by_hand():
    spec = tiny_vilt()
    model, batch = vilt.make_model(spec), tiny_batch(spec)
    params = random_params(model)
    by_hand = batch.replace(images_BHWC=np.float32(batch.images_BHWC / 127.5 - 1.0))
    logits_BC, by_hand_BC = (apply(model, params, b) for b in (batch, by_hand))
    np.testing.assert_allclose(logits_BC, by_hand_BC, atol=1e-5)


def test_fresh_adapters_leave_the_model_as_it_is():
    spec, plain = tiny_vilt(adapter_size=4), tiny_vilt(adapter_size=0)
    params, batch = random_params(vilt.make_model(spec)), tiny_batch(spec)
    params["adapters"] = adapters.init_stack(jax.random.key(0), layers=3, width=16, bottleneck=4)
    with_adapters = apply(vilt.make_model(spec), params, batch)
    without = apply(vilt.make_model(plain), {**params, "adapters": {}}, batch)
    np.testing.assert_array_equal(with_adapters, without)


def test_the_default_sizes_are_those_of_vilt_b32():
    # ViLT-B/32 has 111 595 008 parameters below its heads (transformers' ViltModel counts so).
    spec = FAMILIES["vilt"].spec(ViltConfig(), num_answers=2)
    shapes = jax.eval_shape(lambda: vilt.init(spec, jax.random.key(0)))
    body = [shapes[key] for key in ("embeddings", "blocks", "readout")]
    assert sum(leaf.size for leaf in jax.tree.leaves(body)) == 111_595_008


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 15}, "hidden_size = 15, must be a multiple of num_attention_heads = 2"),
        ({"image_size": 20}, "image_size = 20, must be a multiple of patch_size = 8"),
        ({"num_hidden_layers": 0}, "num_hidden_layers = 0, must be at least 1"),
        ({"adapter_size": -1}, "adapter_size = -1, must be at least 0"),
        ({"hidden_size": 16.0}, "hidden_size = 16.0, must be of type int"),
        ({"hidden_act": "swish"}, r"hidden_act = 'swish', must be one of \['gelu', "),
    ],
)
def test_impossible_sizes_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        tiny_vilt(**changes)


def test_images_of_another_size_are_refused():
    model, batch = vilt.make_model(tiny_vilt()), tiny_batch(tiny_vilt(image_size=24))
    with pytest.raises(ValueError, match=r"images have shape \(24, 24, 3\), .* \(16, 16, 3\)"):
        model.embed(random_params(model)["embeddings"], batch)


@pytest.mark.parametrize("shape", [(24, 20, 3), (24, 24, 1)])
def test_a_canvas_that_patches_do_not_fill_is_refused(shape):
    model, batch = vilt.make_model(tiny_vilt()), tiny_batch(tiny_vilt(), examples=1)
    batch = batch.replace(
        images_BHWC=np.zeros((1, *shape), np.uint8), image_size_B2=np.array([[8, 8]])
    )
    with pytest.raises(
        ValueError, match=r"canvas has shape \(24, .*multiples of 8, and 3 channels"
    ):
        model.embed(random_params(model)["embeddings"], batch)


def several_sizes(side, beyond=0):
    """Images of 16 x 16, 8 x 24 and 24 x 16 on a canvas, which has one value beyond them."""
    sizes = [(16, 16), (8, 24), (24, 16)]
    batch = tiny_batch(tiny_vilt(image_size=24), examples=len(sizes))
    images_BHWC = np.full((len(sizes), side, side, 3), beyond, np.uint8)
    for canvas_HWC, image_HWC, (height, width) in zip(
        images_BHWC, batch.images_BHWC, sizes, strict=True
    ):
        canvas_HWC[:height, :width] = image_HWC[:height, :width]
    return batch.replace(images_BHWC=images_BHWC, image_size_B2=np.array(sizes, np.int32))


def test_what_is_on_the_canvas_beyond_an_image_changes_nothing():
    model = vilt.make_model(tiny_vilt())
    params = random_params(model)
    zeros_BC, others_BC = (apply(model, params, several_sizes(24, b)) for b in (0, 200))
    np.testing.assert_array_equal(zeros_BC, others_BC)


def test_an_image_that_fills_its_canvas_is_as_without_sizes():
    model, batch = vilt.make_model(tiny_vilt()), tiny_batch(tiny_vilt())
    params = random_params(model)
    filling = batch.replace(image_size_B2=np.full((3, 2), 16, np.int32))
    with_BC, without_BC = (apply(model, params, b) for b in (filling, batch))
    np.testing.assert_allclose(with_BC, without_BC, atol=1e-6)


def assert_same(found, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, expected
    )


def test_a_larger_canvas_changes_neither_logits_nor_any_gradient_of_theirs():
    """The patches that it adds are hidden, whatever their number."""
    model = vilt.make_model(tiny_vilt())
    params = random_params(model)

    @jax.jit
    def found(batch):
        logits_BC = base.apply(model, params, batch)
        return logits_BC, jax.jacrev(base.apply, argnums=1)(model, params, batch)

    assert_same(found(several_sizes(40)), found(several_sizes(24)))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_larger_canvas_does_not_change_scores(method):
    model = vilt.make_model(tiny_vilt())
    parts = units.split(random_params(model), "adapter")
    score = jax.jit(make_score("lntk", model, method=method))
    small, large = (score(*parts, several_sizes(s), jax.random.key(0)).values_L for s in (24, 40))
    assert min(small) > 0
    assert_same(large, small)


def test_questions_that_are_too_long_are_refused():
    model, batch = vilt.make_model(tiny_vilt()), tiny_batch(tiny_vilt(), tokens=13)
    with pytest.raises(ValueError, match=r"questions have 13 tokens, .* at most 12"):
        model.embed(random_params(model)["embeddings"], batch)


def test_patches_come_in_raster_order():
    spec = tiny_vilt(patch_size=8, image_size=16, num_channels=1)
    rows, columns = np.indices((16, 16)) // 8
    images_BHWC = np.float32(2 * rows + columns)[None, :, :, None]
    patches = vision.patches(jnp.asarray(images_BHWC), spec.config.patch_size)
    np.testing.assert_array_equal(patches[0], np.repeat(np.arange(4.0)[:, None], 64, axis=1))
