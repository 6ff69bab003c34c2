"""Mean and deviation of pixels, as a checkpoint's own preprocessor_config.json has them."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
import transformers

from f3ocus_jax.data.text import load_tokenizer
from f3ocus_jax.models import FAMILIES, huggingface, preprocessor, vision
from f3ocus_jax.models.grounded_config import CLIP_MEAN, CLIP_STD
from f3ocus_jax.models.tensor_files import WeightsError
from tests.models.sizes import random_params, tiny_blip, tiny_vilt

FIXTURE = pathlib.Path(__file__).parent / "fixtures" / "blip" / "plain"


def write(folder: pathlib.Path, **content: object) -> pathlib.Path:
    (folder / preprocessor.FILE).write_text(json.dumps(content))
    return folder


def test_a_checkpoint_s_own_numbers_are_used(tmp_path: pathlib.Path) -> None:
    folder = pathlib.Path(shutil.copytree(FIXTURE, tmp_path / "model"))
    default = huggingface.load_config(folder)
    assert (default.image_mean, default.image_std) == (CLIP_MEAN, CLIP_STD)
    write(folder, image_mean=[0.1, 0.2, 0.3], image_std=0.5)
    config = huggingface.load_config(folder)
    assert (config.image_mean, config.image_std) == ((0.1, 0.2, 0.3), (0.5,))


def test_without_normalisation_pixels_are_shares(tmp_path: pathlib.Path) -> None:
    pixels = preprocessor.read_pixels(write(tmp_path, do_normalize=False))
    images_BHWC = np.array([[[[0, 51, 255]]]], np.uint8)
    shares = vision.normalise(images_BHWC, pixels["image_mean"], pixels["image_std"])
    np.testing.assert_allclose(shares, [[[[0, 0.2, 1]]]], rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"rescale_factor": 1.0}, "rescale_factor = 1.0, must be 1/255"),
        ({"do_rescale": False}, "must be 1/255, and do_rescale true"),
        ({"image_mean": ["a", 1, 2]}, "image_mean = .*must be a number per channel"),
        ({"image_std": None}, "image_std = None, must be a number per channel"),
    ],
)
def test_what_no_family_does_is_refused(
    tmp_path: pathlib.Path, content: dict, message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        preprocessor.read_pixels(write(tmp_path, **content))


@pytest.mark.parametrize("family", ["blip", "vilt"])
def test_transformers_prepares_the_same_pixels_from_what_is_written(
    family: str, tmp_path: pathlib.Path
) -> None:
    config = {"blip": tiny_blip, "vilt": tiny_vilt}[family]()
    preprocessor.write(tmp_path, config, FAMILIES[family].image_processor(config))
    kind = {"blip": "BlipImageProcessorPil", "vilt": "ViltImageProcessorPil"}[family]
    processor = getattr(transformers, kind).from_pretrained(tmp_path)
    draw = np.random.default_rng(0)
    image_HWC = draw.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    theirs = processor(image_HWC, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
    ours = vision.normalise(jax.numpy.asarray(image_HWC)[None], config.image_mean, config.image_std)
    np.testing.assert_allclose(ours[0], theirs, atol=1e-5)


def test_the_numbers_survive_a_saved_model(tmp_path: pathlib.Path) -> None:
    tokenizer = load_tokenizer()
    config = tiny_vilt(
        vocab_size=tokenizer.vocabulary_size, image_mean=(0.1, 0.2, 0.3), image_std=(0.4,)
    )
    params = random_params(FAMILIES["vilt"].create(config))
    huggingface.save(tmp_path, config, params, [str(n) for n in range(5)], tokenizer)
    assert huggingface.load(tmp_path, key=jax.random.key(0)).config == config
