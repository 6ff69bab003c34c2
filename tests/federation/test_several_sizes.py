"""Images that keep their aspect ratio, from files of several sizes through the cache to a round."""

import pathlib
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from f3ocus_jax.data import cache, questions
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.reading import read_tables
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import experiment
from f3ocus_jax.models import base
from tests.helpers.configs import read_config
from tests.helpers.tables import dummy

FILES = {"a": (40, 40), "b": (40, 66), "c": (60, 40), "d": (90, 30)}
"""Height and width of VQA-RAD's made-up images."""
PLACED = {"a": (32, 32), "b": (32, 48), "c": (48, 32), "d": (48, 16)}
"""The same at a shorter edge of 32, in patches of 16, as ViLT's image processor has it."""
CANVAS = 48


@pytest.fixture(scope="module")
def manual_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files") / "vqa_rad"
    shutil.copytree(dummy("vqa_rad"), folder)
    draw = np.random.default_rng(0)
    for path in folder.glob("*/*.jpg"):
        pixels_HWC = draw.integers(0, 256, (*FILES[path.stem], 3)).astype(np.uint8)
        Image.fromarray(pixels_HWC).save(path)
    return folder


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A folder of its own: what is built here is not the VQA-RAD of other tests."""
    return tmp_path_factory.mktemp("data")


def tiny(data_dir, manual_dir, variant="tiny", **settings):
    """A tiny config of one client whose images are padded, with some settings replaced."""
    padded = {
        "data__datasets": ("vqa_rad/released",),
        "data__partition": ("dataset",),
        "data__manual_dir": str(manual_dir),
        "data__validation_share": 0.0,  # there are four training examples
        "data__image_fit": "pad",
        "data__canvas_size": CANVAS,
        "federated__budgets": (2,),
    }
    return read_config(variant, data_dir, **(padded | settings))


@pytest.fixture(scope="module")
def parts(data_dir, manual_dir):
    return experiment.assemble(tiny(data_dir, manual_dir))


def sizes_of(image_ids):
    return [PLACED[pathlib.Path(name).stem] for name in image_ids]


def test_batches_have_every_image_in_the_corner_of_its_canvas(parts):
    (client,) = parts.federation.clients
    for split in (client.train, client.test):
        batch = split.batch(np.arange(len(split)))
        assert batch.images_BHWC.shape[1:] == (CANVAS, CANVAS, 3)
        assert [tuple(size) for size in batch.image_size_B2.tolist()] == sizes_of(split.image_ids)
        for image_HWC, (height, width) in zip(batch.images_BHWC, batch.image_size_B2, strict=True):
            assert image_HWC[:height, :width].std() > 20
            assert not image_HWC[height:].any()
            assert not image_HWC[:, width:].any()
    assert len(set(sizes_of(client.train.image_ids))) > 1


@pytest.mark.slow
def test_a_round_scores_images_of_several_sizes_trains_on_them_and_evaluates(parts):
    _, _, record = experiment.next_round(parts, parts.start, parts.memory)
    (client,) = record.clients
    assert max(client.residuals) < 1e-3
    assert np.isfinite([client.train_loss, record.loss, *client.values]).all()


def test_predict_sees_what_the_run_saw(parts, manual_dir):
    train = parts.federation.clients[0].train
    seen = train.batch(np.arange(1))
    (path,) = manual_dir.glob(f"*/{train.image_ids[0]}*")
    asked = questions.make_batch(
        [(path, train.questions[0])],
        canvas=parts.foundation.canvas(parts.config.data),
        tokenizer=parts.foundation.tokenizer,
        question_length=parts.config.data.question_length,
        findings=len(parts.foundation.findings),
    )
    for name in ("images_BHWC", "image_size_B2", "input_ids_BT", "attention_mask_BT"):
        np.testing.assert_array_equal(getattr(asked, name), getattr(seen, name), err_msg=name)
    params = parts.params(parts.start)
    apply = jax.jit(base.apply, static_argnums=0)
    assert np.isfinite(apply(parts.foundation.model, params, asked)).all()


def test_sizes_survive_a_reopened_cache_and_have_one_of_their_own(parts, monkeypatch):
    canvas = parts.foundation.canvas(parts.config.data)
    first = read_tables(parts.config.data, canvas)[0]["vqa_rad/released"]["train"]
    monkeypatch.setattr(cache, "_write", None)
    again = read_tables(parts.config.data, canvas)[0]["vqa_rad/released"]["train"]
    np.testing.assert_array_equal(again.image_size_N2, first.image_size_N2)
    monkeypatch.undo()
    stretched = read_tables(parts.config.data, Canvas(CANVAS))[0]["vqa_rad/released"]["train"]
    assert stretched.image_size_N2 is None
    assert stretched.images[np.array([0])][:, -1].any()


@pytest.mark.parametrize(
    ("variant", "settings", "message"),
    [
        (
            "tiny_blip",
            {},
            r"image_fit = 'pad', must be 'stretch' with this model: .* by vilt alone",
        ),
        ("tiny", {"data__canvas_size": 50}, "canvas_size = 50, must be a multiple of 16, the side"),
    ],
)
def test_a_canvas_that_the_model_does_not_take_is_refused(
    variant, settings, message, data_dir, manual_dir
):
    with pytest.raises(ConfigError, match=message):
        experiment.assemble(tiny(data_dir, manual_dir, variant, **settings))
