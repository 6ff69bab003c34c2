"""Convert a checkpoint for config.model.weights: f3ocus convert --checkpoint MODEL --workdir OUT.

MODEL is a Hugging Face directory or one file of it, in safetensors or torch format, or a .pth file
of ALBEF's authors. Tensors are copied one by one, so memory does not limit the size of a model.
Torch files are read as data only (`weights_only=True`) and need the extra `parity`.
"""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from absl import flags

from f3ocus_jax import _command_line
from f3ocus_jax.config import paths
from f3ocus_jax.data.tokenizer import Tokenizer
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import run_lock
from f3ocus_jax.models import FAMILIES, family_of
from f3ocus_jax.models.blip import albef_checkpoint
from f3ocus_jax.models.blocks import positions
from f3ocus_jax.models.huggingface import (
    config_file,
    directory as huggingface,
    extra_files,
    seal,
    shards,
    sources,
    tensor_files,
)
from f3ocus_jax.models.huggingface.config_file import CONFIG_FILE
from f3ocus_jax.models.huggingface.directory import STORED, WEIGHT_DTYPES
from f3ocus_jax.models.huggingface.tensor_files import StoredTensors
from f3ocus_jax.models.spec import ModelSpec


@dataclasses.dataclass(frozen=True)
class Target:
    """Form of a converted checkpoint.

    Attributes:
      image_size: Side of the images in pixels, to which the positions of patches are resized; 0
        keeps the checkpoint's.
      dtype: One of `WEIGHT_DTYPES`.
      shard_bytes: Largest size of a file, in bytes.
    """

    image_size: int = 0
    dtype: str = STORED
    shard_bytes: int = shards.SHARD_BYTES


def define_flags() -> None:
    """Adds the checkpoint and the form of what is written."""
    text = "Hugging Face directory, or one file: .safetensors, .bin, .pt, .pth"
    flags.DEFINE_string("checkpoint", None, text, required=True)
    flags.DEFINE_string(
        "tokenizer", None, "folder with tokenizer.json or vocab.txt; the checkpoint's unless given"
    )
    flags.DEFINE_string("sizes", None, "folder with config.json; the checkpoint's unless given")
    flags.DEFINE_integer("head_width", 64, "dimensions of a head of ALBEF's .pth", lower_bound=1)
    flags.DEFINE_integer("image_size", 0, "side in pixels; 0 keeps the checkpoint's", lower_bound=0)
    flags.DEFINE_enum("dtype", STORED, WEIGHT_DTYPES, "dtype of the written weights")
    flags.DEFINE_integer("shard_bytes", shards.SHARD_BYTES, "largest size of a file", lower_bound=1)


def main() -> None:
    """Converts a checkpoint and prints its size."""
    settings = flags.FLAGS
    folder = _command_line.prepare_workdir()
    with run_lock.owned(folder):
        convert(
            paths.local_folder(settings.checkpoint, "--checkpoint"),
            paths.local_folder(settings.tokenizer, "--tokenizer") if settings.tokenizer else None,
            folder,
            sizes=paths.local_folder(settings.sizes, "--sizes") if settings.sizes else None,
            head_width=settings.head_width,
            target=Target(settings.image_size, settings.dtype, settings.shard_bytes),
        )


def convert(
    source: pathlib.Path,
    tokenizer: pathlib.Path | None,
    folder: pathlib.Path,
    *,
    sizes: pathlib.Path | None = None,
    head_width: int = 64,
    target: Target = Target(),
) -> None:
    """Writes a checkpoint as a Hugging Face directory.

    A model without an answer head gets one from the run that uses it.

    Args:
      source: Checkpoint. A torch file in a folder without config.json is read as ALBEF's, and its
        sizes follow from its tensors.
      tokenizer: Folder with tokenizer.json or vocab.txt; the checkpoint's if None.
      folder: Folder to write, another one than the checkpoint's.
      sizes: Folder with config.json; the checkpoint's if None.
      head_width: Dimensions of an attention head of ALBEF's.
      target: Form of the written checkpoint.

    Raises:
      DamagedError: If a file that the checkpoint's manifest lists is absent or changed.
      WeightsError: If the checkpoint cannot be used; lists what is missing or left over.
      ConfigError: If the tokenizer cannot be read, or sizes are impossible.
    """
    home = source if source.is_dir() else source.parent
    if folder.resolve() == home.resolve():
        raise ConfigError(f"--workdir={folder} holds the checkpoint, must be another folder")
    described = sizes or home
    for each in {home, described, tokenizer or home}:
        seal.check(each, weights=each == home)
    located, spec, words = _read(source, described, tokenizer or home, head_width)
    stored = huggingface.locate(spec, located, source)
    resized = spec.with_image_size(target.image_size)
    is_described = (described / CONFIG_FILE).is_file()
    settings = tensor_files.read_json(described / CONFIG_FILE) if is_described else {}
    resized, adapters = extra_files.read_adapters(described, resized, None, jax.random.key(0))
    classes = config_file.read(described)[1] if is_described else {}
    huggingface.write(
        folder,
        resized,
        _changed(stored, resized, target.dtype),
        words,
        heads=extra_files.read_heads(described, huggingface.head_shapes(spec, classes)),
        adapters=adapters,
        settings=settings,
        shard_bytes=target.shard_bytes,
    )
    seal.seal(folder)
    count = sum(int(np.prod(tensor.shape)) for tensor in stored.values())
    print(f"{count:,} parameters, images of {resized.config.image_size} px; written to {folder}")


def _read(
    source: pathlib.Path, described: pathlib.Path, tokenizer: pathlib.Path, head_width: int
) -> tuple[StoredTensors, ModelSpec[Any], Tokenizer]:
    """Returns the locations of a checkpoint's tensors, its sizes and its tokenizer."""
    located: StoredTensors = sources.locate(source)
    is_albef = source.suffix == ".pth" and not (described / CONFIG_FILE).is_file()
    if is_albef:
        words = load_tokenizer(tokenizer)
        located = albef_checkpoint.convert(located)
        config = albef_checkpoint.sizes(located, words, head_width=head_width)
        return located, FAMILIES["albef"].spec(config, num_answers=2), words
    spec, _ = config_file.read(described)
    return located, spec, load_tokenizer(tokenizer, family_of(spec).prompt)


def _changed(
    stored: StoredTensors, spec: ModelSpec[Any], dtype: str
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields tensors in the dtype to write, positions resized to the image size."""
    family = family_of(spec)
    path, method = family.position_embeddings
    position = next(one for one in family.tensors(spec.config) if path in one.paths)
    side = round(spec.config.num_patches**0.5)
    for name, value in sources.stream(stored):
        wanted = tensor_files.common_dtype([value.dtype.name]) if dtype == STORED else dtype
        if name == position.name:
            (ours_PD,) = position.to_parameters(value.astype(np.float32))
            value = position.to_tensor(positions.resize(ours_PD, side, method))
        yield name, value.astype(wanted, copy=False)


if __name__ == "__main__":
    define_flags()
    _command_line.run(main)
