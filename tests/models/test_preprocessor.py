"""Mean and deviation of pixels, as a checkpoint's own preprocessor_config.json has them."""

import json
import pathlib
import shutil
from typing import Any

import jax
import numpy as np
import pytest
import transformers
from PIL import Image

from f3ocus_jax.data import images
from f3ocus_jax.data.text import load_tokenizer
from f3ocus_jax.models import FAMILIES, huggingface, preprocessor, vision
from f3ocus_jax.models.grounded_config import CLIP_MEAN, CLIP_STD
from f3ocus_jax.models.tensor_files import WeightsError
from tests.models.sizes import random_params, tiny_albef, tiny_blip, tiny_llava, tiny_vilt

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


CONFIGS = {"albef": tiny_albef, "blip": tiny_blip, "llava": tiny_llava, "vilt": tiny_vilt}


def both_pixels(family: str, folder: pathlib.Path, shape: tuple[int, int]) -> tuple[Any, Any]:
    """An image of noise as our data path makes pixels of it, and as transformers does."""
    config = CONFIGS[family]()
    of_family = FAMILIES[family].image_processor(config)
    preprocessor.write(folder, config, of_family)
    kind = getattr(transformers, f"{of_family['image_processor_type']}Pil")
    draw = np.random.default_rng(0)
    image = Image.fromarray(draw.integers(0, 256, (*shape, 3)).astype(np.uint8))
    found = kind.from_pretrained(folder)(image, return_tensors="np")["pixel_values"][0]
    image_HWC = jax.numpy.asarray(images.resize(image, config.image_size))
    ours = vision.normalise(image_HWC[None], config.image_mean, config.image_std)
    return ours[0], found.transpose(1, 2, 0)


@pytest.mark.parametrize("shape", [(41, 41), (13, 13)], ids=["smaller", "larger"])
@pytest.mark.parametrize("family", CONFIGS)
def test_transformers_makes_the_same_pixels_of_a_square_image(
    family: str, shape: tuple[int, int], tmp_path: pathlib.Path
) -> None:
    np.testing.assert_allclose(*both_pixels(family, tmp_path, shape), atol=1e-3)


@pytest.mark.parametrize("family", sorted(set(CONFIGS) - {"vilt"}))
def test_transformers_makes_the_same_pixels_of_any_image(
    family: str, tmp_path: pathlib.Path
) -> None:
    np.testing.assert_allclose(*both_pixels(family, tmp_path, (40, 57)), atol=1e-3)


def test_only_vilt_s_processor_keeps_an_image_wide(tmp_path: pathlib.Path) -> None:
    # Ours makes a square of every image, so that all of a batch have one shape.
    ours, theirs = both_pixels("vilt", tmp_path, (40, 66))
    assert ours.shape[0] == ours.shape[1] == theirs.shape[0] < theirs.shape[1]


def test_the_numbers_survive_a_saved_model(tmp_path: pathlib.Path) -> None:
    tokenizer = load_tokenizer()
    config = tiny_vilt(
        vocab_size=tokenizer.vocabulary_size, image_mean=(0.1, 0.2, 0.3), image_std=(0.4,)
    )
    params = random_params(FAMILIES["vilt"].create(config))
    huggingface.save(tmp_path, config, params, [str(n) for n in range(5)], tokenizer)
    assert huggingface.load(tmp_path, key=jax.random.key(0)).config == config
