"""python -m f3ocus_jax.convert --checkpoint ALBEF.pth --tokenizer DIR --workdir OUT.

How does a torch checkpoint of ALBEF's authors become a directory that config.model.weights takes?
It is read as data only (`weights_only=True`) by torch, which the extra `parity` installs.
"""

import pathlib

from absl import flags

from f3ocus_jax import commands
from f3ocus_jax.data.text import load_tokenizer
from f3ocus_jax.models import albef_checkpoint, huggingface, torch_files


def define_flags() -> None:
    """Adds what is converted."""
    flags.DEFINE_string("checkpoint", None, "ALBEF's .pth file", required=True)
    flags.DEFINE_string(
        "tokenizer", None, "folder with bert-base-uncased's vocab.txt", required=True
    )
    flags.DEFINE_integer("head_width", 64, "dimensions of an attention head", lower_bound=1)


def main() -> None:
    """Converts a checkpoint and says what it was."""
    settings = flags.FLAGS
    source, folder = pathlib.Path(settings.checkpoint), commands.prepare_workdir()
    convert(source, pathlib.Path(settings.tokenizer), folder, head_width=settings.head_width)


def convert(
    source: pathlib.Path, tokenizer: pathlib.Path, folder: pathlib.Path, *, head_width: int
) -> None:
    """Writes an ALBEF without answer head, which a run adds.

    Args:
      source: the .pth file.
      tokenizer: folder with tokenizer.json or vocab.txt.
      folder: where the directory is written.
      head_width: dimensions of an attention head.

    Raises:
      WeightsError: for a file that is no such checkpoint; lists what is missing or left over.
      ConfigError: for a tokenizer that cannot be read, or sizes that cannot be.
    """
    words = load_tokenizer(tokenizer)
    theirs = albef_checkpoint.convert(torch_files.read(source))
    config = albef_checkpoint.sizes(theirs, words, head_width=head_width)
    huggingface.check(config, {name: value.shape for name, value in theirs.items()}, source)
    huggingface.write(folder, config, theirs, words)
    count = sum(value.size for value in theirs.values())
    print(f"{count:,} parameters, images of {config.image_size} px; written to {folder}")


if __name__ == "__main__":
    define_flags()
    commands.run(main)
