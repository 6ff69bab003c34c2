"""Lookup of a subset's file in the user's folder, or its download."""

import os
import pathlib
from typing import Any

import requests
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.folder_index import FolderIndex
from tfds_medvqa.common.manual_builder import manual_folder
from tfds_medvqa.medvqa_fl.records import Record

CONNECT_SECONDS = 10.0


def locate(dl_manager: Any, record: Record, resolution: int) -> pathlib.Path:
    """Finds a subset's file in the manual folder or below it, or downloads it.

    Args:
      dl_manager: TFDS's download manager.
      record: Record of the subset.
      resolution: Side of the images, in pixels.

    Returns:
      The path of the file, whose content is not checked yet.

    Raises:
      BuildError: if the file is absent and cannot be downloaded.
    """
    name = record.file_name(resolution)
    folder = manual_folder(dl_manager)
    found = FolderIndex(folder).find(name, os.path.isfile)
    if found is not None:
        return found[1]
    address = record.addresses[resolution]
    try:
        # TFDS would retry for minutes if the server cannot be reached.
        requests.head(address, timeout=CONNECT_SECONDS)
        return pathlib.Path(dl_manager.download(address))
    except NonMatchingChecksumError as error:
        raise BuildError(
            f"{name} from {address} does not have the size and SHA-256 of checksums.tsv; "
            "it is truncated or not MedMNIST's own; try again"
        ) from error
    except Exception as error:  # TFDS raises any error of its backends
        where = (
            f"neither in {folder} nor below it"
            if folder
            else "in no manual folder (none was given, or empty)"
        )
        raise BuildError(
            f"{name} is {where} and could not be downloaded from {address} "
            f"({type(error).__name__}); put MedMNIST's own file, md5 {record.md5[resolution]}, "
            "into a folder and give it as manual_dir"
        ) from error
