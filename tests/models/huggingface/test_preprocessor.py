"""Mean and deviation of pixels, as a checkpoint's own preprocessor_config.json has them."""

import dataclasses
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
import transformers
from PIL import Image
from transformers.models.vilt.image_processing_pil_vilt import get_resize_output_image_size

from f3ocus_jax.data import images
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.errors import WeightsError
from f3ocus_jax.models import FAMILIES
from f3ocus_jax.models.blocks import clip, vision
from f3ocus_jax.models.huggingface import directory as huggingface, preprocessor
from tests.helpers.models import TINY, first_tiny, random_params, tiny_vilt, with_vocabulary
from tests.helpers.paths import MODEL_FIXTURES

FIXTURE = MODEL_FIXTURES / "blip" / "plain"


def write(folder, **content):
    (folder / preprocessor.FILE).write_text(json.dumps(content))
    return folder


def test_a_checkpoint_s_own_numbers_are_used(tmp_path):
    folder = pathlib.Path(shutil.copytree(FIXTURE, tmp_path / "model"))
    default = huggingface.load_spec(folder)
    assert (default.setup.image_mean, default.setup.image_std) == (clip.MEAN, clip.STD)
    write(folder, image_mean=[0.1, 0.2, 0.3], image_std=0.5)
    spec = huggingface.load_spec(folder)
    assert (spec.setup.image_mean, spec.setup.image_std) == ((0.1, 0.2, 0.3), (0.5,))


def test_without_normalisation_pixels_are_shares(tmp_path):
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
def test_what_no_family_does_is_refused(tmp_path, content, message):
    with pytest.raises(WeightsError, match=message):
        preprocessor.read_pixels(write(tmp_path, **content))


def test_what_transformers_5_writes_is_read(tmp_path):
    theirs = transformers.CLIPImageProcessorPil(image_mean=[0.1, 0.2, 0.3], image_std=[0.5] * 3)
    words = transformers.BertTokenizer(vocab={"[UNK]": 0, "<image>": 1})
    transformers.LlavaProcessor(theirs, words, patch_size=8).save_pretrained(tmp_path)
    assert not (tmp_path / preprocessor.FILE).exists()
    expected = {"image_mean": (0.1, 0.2, 0.3), "image_std": (0.5,)}
    assert preprocessor.read_pixels(tmp_path) == expected
    write(tmp_path, image_mean=[0.9] * 3)
    assert preprocessor.read_pixels(tmp_path) == expected, "transformers takes the section first"


def test_a_processor_file_without_pixels_leaves_them_to_the_other_file(tmp_path, caplog):
    (tmp_path / preprocessor.PROCESSOR_FILE).write_text('{"patch_size": 14}')
    assert preprocessor.read_pixels(write(tmp_path, image_mean=0.2)) == {"image_mean": (0.2,)}
    assert not caplog.messages


def test_a_directory_without_either_file_is_announced_once(tmp_path, caplog):
    assert [preprocessor.read_pixels(tmp_path) for _ in range(2)] == [{}, {}]
    (message,) = caplog.messages
    assert f"{tmp_path} has neither preprocessor_config.json nor processor_config.json" in message


def test_a_section_that_is_none_is_refused(tmp_path):
    (tmp_path / preprocessor.PROCESSOR_FILE).write_text('{"image_processor": "CLIP"}')
    with pytest.raises(WeightsError, match="image_processor = 'CLIP', must be a section"):
        preprocessor.read_pixels(tmp_path)


QUESTION = "is there a lung?"
WORDS = load_tokenizer(prompt=FAMILIES["smolvlm"].prompt)
"""A vocabulary with <image> in it."""
SHOWN = {
    "llava": "USER: <image>\n{} ASSISTANT:",
    "blip2_opt": "Question: {} Answer:",
} | dict.fromkeys(("smolvlm", "idefics3"), "User:<image>{}<end_of_utterance>\nAssistant:")
"""Tiny model to a question as its processor takes it."""


def exported(name, folder):
    """Writes a tiny model whose image token is <image>; returns its specification."""
    spec = with_vocabulary(
        TINY["smolvlm" if name == "idefics3" else name](), len(WORDS.pieces.get_vocab())
    )
    changes = {
        "image_token_index": WORDS.token_id("<image>"),
        "image_token_id": WORDS.token_id("<image>"),
    }
    changes |= {"model_type": name}
    known = {f.name for f in dataclasses.fields(spec.config)}
    config = dataclasses.replace(spec.config, **{n: v for n, v in changes.items() if n in known})
    spec = dataclasses.replace(spec, config=config)
    params = random_params(FAMILIES[spec.family].make_model(spec))
    huggingface.save(folder, spec, params, ["no", "yes", "a", "b", "c"], WORDS)
    return spec


@pytest.mark.parametrize("name", [n for n in SHOWN if n != "smolvlm"])  # needs num2words
def test_auto_processor_of_an_export_makes_our_tokens(name, tmp_path):
    spec = exported(name, tmp_path)
    processor = transformers.AutoProcessor.from_pretrained(tmp_path)
    found = processor(
        images=[noise(20, 30)], text=SHOWN[name].format(QUESTION), return_tensors="np"
    )
    image, (theirs_T,) = WORDS.token_id("<image>"), found["input_ids"]
    prompted = load_tokenizer(tmp_path, FAMILIES[spec.family].prompt)
    ids_BT, mask_BT = prompted.encode([QUESTION], 60)
    ours_T = ids_BT[0][mask_BT[0] > 0]
    if name == "blip2_opt":  # the queries precede the question, without a token of ours
        expected_T = np.concatenate([[image] * spec.config.num_query_tokens, ours_T])
    else:
        expected_T = np.repeat(ours_T, np.where(ours_T == image, spec.config.image_tokens, 1))
    np.testing.assert_array_equal(theirs_T, expected_T)


def test_an_export_of_another_family_leaves_no_older_processor_file(tmp_path):
    exported("smolvlm", tmp_path)
    content = json.loads((tmp_path / preprocessor.PROCESSOR_FILE).read_text())
    assert content == {"processor_class": "SmolVLMProcessor", "image_seq_len": 4}
    preprocessor.write_processor(tmp_path, FAMILIES["vilt"].processor(None))
    assert not (tmp_path / preprocessor.PROCESSOR_FILE).exists()


SQUARE = sorted(name for name, family in FAMILIES.items() if family.edges is None)


def noise(*shape):
    draw = np.random.default_rng(0)
    return Image.fromarray(draw.integers(0, 256, (*shape, 3)).astype(np.uint8))


def processor(spec, family, folder):
    """What transformers prepares images with, as it reads it from a model of ours."""
    of_family = FAMILIES[family].image_processor(spec.config)
    preprocessor.write(folder, spec.setup, of_family)
    return getattr(transformers, f"{of_family['image_processor_type']}Pil").from_pretrained(folder)


def normalised(canvases, spec):
    images_BHWC = jax.numpy.asarray(np.stack(canvases))
    return vision.normalise(images_BHWC, spec.setup.image_mean, spec.setup.image_std)


def both_pixels(family, folder, shape):
    """An image of noise as our data path makes a square of it, and as transformers does."""
    spec, image = first_tiny(family)(), noise(*shape)
    prepare = processor(spec, family, folder)
    found = prepare(image, return_tensors="np")["pixel_values"]
    found = found.reshape(found.shape[-3:])  # SmolVLM's has an axis of images
    canvas_HWC, _ = images.fit_to_canvas(image, Canvas(spec.config.image_size))
    return normalised([canvas_HWC], spec)[0], found.transpose(1, 2, 0)


@pytest.mark.parametrize("shape", [(41, 41), (13, 13)], ids=["smaller", "larger"])
@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_makes_the_same_pixels_of_a_square_image(family, shape, tmp_path):
    np.testing.assert_allclose(*both_pixels(family, tmp_path, shape), atol=1e-3)


@pytest.mark.parametrize("family", SQUARE)
def test_transformers_makes_the_same_pixels_of_any_image(family, tmp_path):
    np.testing.assert_allclose(*both_pixels(family, tmp_path, (40, 57)), atol=1e-3)


SHAPES = [(50, 50), (40, 66), (97, 30), (61, 44), (18, 21)]
"""Height and width of images that are square, wide, tall beyond the limit, and between."""


def test_vilt_s_processor_makes_the_same_padded_pixels_and_mask(tmp_path):
    spec = tiny_vilt(image_size=32, patch_size=4)
    theirs = processor(spec, "vilt", tmp_path)([noise(*s) for s in SHAPES], return_tensors="np")
    mask_BHW = theirs["pixel_mask"]
    height, width = mask_BHW.shape[1:]
    placed = [images.fit_to_canvas(noise(*shape), Canvas(52, 32, 4)) for shape in SHAPES]
    assert (max(height, width), mask_BHW.all(axis=(1, 2)).any()) == (52, False)
    for (_, size), mask_HW in zip(placed, mask_BHW, strict=True):
        assert size == (mask_HW[:, 0].sum(), mask_HW[0].sum())
    sizes_B2 = np.array([size for _, size in placed])
    assert (len(set(map(tuple, sizes_B2.tolist()))), sizes_B2.max()) == (5, 52)
    canvas_BHW = vision.image_mask(sizes_B2, (52, 52))
    np.testing.assert_array_equal(canvas_BHW[:, :height, :width], mask_BHW)
    ours_BHWC = normalised([canvas_HWC for canvas_HWC, _ in placed], spec)
    ours_BHWC = np.where(canvas_BHW[..., None], ours_BHWC, 0)
    theirs_BHWC = theirs["pixel_values"].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(ours_BHWC[:, :height, :width], theirs_BHWC, atol=1e-3)


def test_sizes_are_those_of_vilt_s_processor_at_its_published_size():
    draw = np.random.default_rng(0)
    shapes = [(384, 768), (768, 384), (1333, 800), *draw.integers(100, 2000, (500, 2)).tolist()]
    for height, width in shapes:
        theirs = get_resize_output_image_size(np.empty((3, height, width), np.uint8), 384, 639)
        assert Canvas(608, 384, 32).fitted_size(height, width) == theirs


@pytest.mark.parametrize("side", [32, 40, 52, 64])
def test_every_image_fits_its_canvas(side):
    draw = np.random.default_rng(1)
    shapes = [(1, 1000), (1000, 1), (64, 64), *draw.integers(1, 300, (200, 2)).tolist()]
    found = np.array([Canvas(side, 32, 4).fitted_size(height, width) for height, width in shapes])
    assert found.min() == 4
    assert found.max() == min(side, 52)
    assert not (found % 4).any()


def test_the_numbers_survive_a_saved_model(tmp_path):
    tokenizer = load_tokenizer()
    spec = tiny_vilt(
        vocab_size=tokenizer.vocabulary_size, image_mean=(0.1, 0.2, 0.3), image_std=(0.4,)
    )
    params = random_params(FAMILIES["vilt"].make_model(spec))
    huggingface.save(tmp_path, spec, params, [str(n) for n in range(5)], tokenizer)
    assert huggingface.load(tmp_path, key=jax.random.key(0)).spec == spec
