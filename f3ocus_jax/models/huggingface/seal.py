"""Manifest of an exported model: written when its files are, checked before they are read.

A directory without one, such as a download, is read as it is.
"""

import pathlib

from f3ocus_jax.data.tokenizer import TOKENIZER_FILES
from f3ocus_jax.errors import DamagedError
from f3ocus_jax.models.huggingface import extra_files, peft_layout, preprocessor, tensor_files
from f3ocus_jax.models.huggingface.config_file import CONFIG_FILE
from tfds_medvqa.common import integrity

WEIGHT_FILES = "*.safetensors"
PATTERNS = (
    CONFIG_FILE,
    preprocessor.FILE,
    preprocessor.PROCESSOR_FILE,
    *TOKENIZER_FILES,
    *extra_files.FILES,
    tensor_files.WEIGHTS_FILE,
    tensor_files.INDEX_FILE,
    "model-*-of-*.safetensors",
    f"{peft_layout.FOLDER}/{peft_layout.CONFIG_FILE}",
    f"{peft_layout.FOLDER}/{peft_layout.WEIGHTS_FILE}",
)
"""Files of a model; others in its directory are none of the manifest's business."""


def seal(folder: pathlib.Path) -> None:
    """Writes the manifest of a model whose files are all written."""
    paths = {path for pattern in PATTERNS for path in folder.glob(pattern)}
    integrity.write_manifest(folder, [path.relative_to(folder).as_posix() for path in paths])


def unseal(folder: pathlib.Path) -> None:
    """Removes the manifest of a model that is about to be replaced."""
    integrity.remove_manifest(folder)


def check(folder: pathlib.Path, *, weights: bool) -> None:
    """Checks the files that the manifest of a directory lists, if it has one.

    Args:
      folder: Directory of a model.
      weights: True to read the files of tensors too; their sizes are checked in any case.

    Raises:
      DamagedError: If a file is absent or changed; names it.
    """
    if not integrity.has_manifest(folder):
        return
    small = (path for pattern in PATTERNS for path in folder.glob(pattern))
    names = [path.relative_to(folder).as_posix() for path in small if not path.match(WEIGHT_FILES)]
    try:
        integrity.check_manifest(folder, None if weights else names)
    except DamagedError as error:
        raise DamagedError(
            f"{error}; export or copy the model again, or remove {integrity.MANIFEST} to use the "
            "files as they are"
        ) from error
