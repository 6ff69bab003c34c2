"""python -m f3ocus_jax.convert --checkpoint MODEL --workdir OUT [--tokenizer DIR].

How does a checkpoint become a directory that config.model.weights takes? MODEL is a Hugging Face
directory or one file of it, in safetensors or of torch, or a .pth of ALBEF's authors. Tensors go
from file to file one by one. What is torch's is read as data only (`weights_only=True`), with the
extra `parity`.
"""

import dataclasses
import pathlib
from collections.abc import Iterator

import jax
import numpy as np
from absl import flags

from f3ocus_jax import _command_line
from f3ocus_jax.data.text import Tokenizer, load_tokenizer
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models.blip import albef_checkpoint
from f3ocus_jax.models.blocks import positions
from f3ocus_jax.models.huggingface import (
    companions,
    directory as huggingface,
    shards,
    sources,
    tensor_files,
)
from f3ocus_jax.models.huggingface.directory import CONFIG_FILE, STORED, WEIGHT_DTYPES, Stored
from f3ocus_jax.models.sizes import Sizes


@dataclasses.dataclass(frozen=True)
class Wishes:
    """What a converted checkpoint shall be.

    Attributes:
      image_size: side of the images in pixels, to which the positions of patches are resized; 0
        for the checkpoint's own.
      dtype: one of `WEIGHT_DTYPES`.
      shard_bytes: how large a file gets before another is begun.
    """

    image_size: int = 0
    dtype: str = STORED
    shard_bytes: int = shards.SHARD_BYTES


def define_flags() -> None:
    """Adds what is converted, and what it shall be."""
    text = "Hugging Face directory, or one file: .safetensors, .bin, .pt, .pth"
    flags.DEFINE_string("checkpoint", None, text, required=True)
    flags.DEFINE_string(
        "tokenizer", None, "folder with tokenizer.json or vocab.txt; the checkpoint's unless given"
    )
    flags.DEFINE_string("sizes", None, "folder with config.json; the checkpoint's unless given")
    flags.DEFINE_integer("head_width", 64, "of an attention head of ALBEF's .pth", lower_bound=1)
    flags.DEFINE_integer("image_size", 0, "side in pixels; 0 for the checkpoint's", lower_bound=0)
    flags.DEFINE_enum("dtype", STORED, WEIGHT_DTYPES, "of the weights that are written")
    flags.DEFINE_integer("shard_bytes", shards.SHARD_BYTES, "of a file at most", lower_bound=1)


def main() -> None:
    """Converts a checkpoint and says what it was."""
    settings = flags.FLAGS
    convert(
        pathlib.Path(settings.checkpoint),
        pathlib.Path(settings.tokenizer) if settings.tokenizer else None,
        _command_line.prepare_workdir(),
        sizes=pathlib.Path(settings.sizes) if settings.sizes else None,
        head_width=settings.head_width,
        wishes=Wishes(settings.image_size, settings.dtype, settings.shard_bytes),
    )


def convert(
    source: pathlib.Path,
    tokenizer: pathlib.Path | None,
    folder: pathlib.Path,
    *,
    sizes: pathlib.Path | None = None,
    head_width: int = 64,
    wishes: Wishes = Wishes(),
) -> None:
    """Writes a directory of a model; one without answer head gets it from the run that uses it.

    Args:
      source: the checkpoint. One of torch in a folder without config.json is taken for ALBEF's,
        whose sizes its tensors tell.
      tokenizer: folder with tokenizer.json or vocab.txt; the checkpoint's if None.
      folder: where the directory is written, another one than the checkpoint's.
      sizes: folder with config.json; the checkpoint's if None.
      head_width: dimensions of an attention head of ALBEF's.
      wishes: what it shall be.

    Raises:
      WeightsError: for a checkpoint that cannot be used; lists what is missing or left over.
      ConfigError: for a tokenizer that cannot be read, or sizes that cannot be.
    """
    home = source if source.is_dir() else source.parent
    if folder.resolve() == home.resolve():
        raise ConfigError(f"--workdir={folder} holds the checkpoint, must be another folder")
    described = sizes or home
    located, config, words = _read(source, described, tokenizer or home, head_width)
    stored = huggingface.locate(config, located, source)
    resized = config
    if wishes.image_size:
        resized = huggingface.family_of(config).with_image_size(config, wishes.image_size)
    is_described = (described / CONFIG_FILE).is_file()
    settings = tensor_files.read_json(described / CONFIG_FILE) if is_described else {}
    resized, adapters = companions.read_adapters(described, resized, None, jax.random.key(0))
    classes = huggingface.read_config(described)[1] if is_described else {}
    huggingface.write(
        folder,
        resized,
        _changed(stored, resized, wishes.dtype),
        words,
        heads=companions.read_heads(described, huggingface.head_shapes(config, classes)),
        adapters=adapters,
        settings=settings,
        shard_bytes=wishes.shard_bytes,
    )
    count = sum(int(np.prod(tensor.shape)) for tensor in stored.values())
    print(f"{count:,} parameters, images of {resized.image_size} px; written to {folder}")


def _read(
    source: pathlib.Path, described: pathlib.Path, tokenizer: pathlib.Path, head_width: int
) -> tuple[Stored, Sizes, Tokenizer]:
    """Returns where a checkpoint's tensors are, its sizes and its tokenizer."""
    located: Stored = sources.locate(source)
    is_albef = source.suffix == ".pth" and not (described / CONFIG_FILE).is_file()
    if is_albef:
        words = load_tokenizer(tokenizer)
        located = albef_checkpoint.convert(located)
        return located, albef_checkpoint.sizes(located, words, head_width=head_width), words
    config, _ = huggingface.read_config(described)
    return located, config, load_tokenizer(tokenizer, huggingface.family_of(config).prompt)


def _changed(stored: Stored, config: Sizes, dtype: str) -> Iterator[tuple[str, np.ndarray]]:
    """Streams tensors as they shall be written; their positions fit the sizes."""
    family = huggingface.family_of(config)
    path, method = family.positions
    position = next(kind for kind in family.tensors(config) if path in kind.paths)
    side = round(config.num_patches**0.5)
    for name, value in sources.stream(stored):
        wanted = tensor_files.common_dtype([value.dtype.name]) if dtype == STORED else dtype
        if name == position.name:
            (ours_PD,) = position.to_ours(value.astype(np.float32))
            value = position.to_theirs(positions.resize(ours_PD, side, method))
        yield name, value.astype(wanted, copy=False)


if __name__ == "__main__":
    define_flags()
    _command_line.run(main)
