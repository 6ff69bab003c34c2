"""Base class of builders whose source files the user provides."""

import abc
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.features import example_features
from tfds_medvqa.common.local_builder import LocalBuilder
from tfds_medvqa.common.rows import ReadOptions, RowCheck, describe_skipped
from tfds_medvqa.common.source_folder import Origin, SourceFolder
from tfds_medvqa.common.source_images import SourceImage

SKIPPED_ROWS = "skipped_rows"
"""Metadata of a built dataset: reason to number of rows that were left out."""


class ManualBuilder(LocalBuilder):
    """Builds a dataset from files in manual_dir; needs no TensorFlow.

    A subclass sets `ORIGIN` and implements `splits`. Every example is checked before it is written:
    its texts, its answer, its identifier and its image.

    Attributes:
      read_options: Options of reading the source files; `tfds_medvqa.build` sets them.
      source_files: The files that were found while the dataset was built.
    """

    ORIGIN: ClassVar[Origin]
    METADATA: ClassVar[Mapping[str, Any]] = {}
    read_options: ReadOptions = ReadOptions()
    source_files: SourceFolder | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Sets TFDS's download instructions from `ORIGIN`."""
        super().__init_subclass__(**options)
        if hasattr(cls, "ORIGIN"):
            cls.MANUAL_DOWNLOAD_INSTRUCTIONS = (
                f"{cls.ORIGIN.title}, from {cls.ORIGIN.address} ({cls.ORIGIN.licence})"
            )

    @abc.abstractmethod
    def splits(self, files: SourceFolder) -> Mapping[str, Iterable[dict[str, Any]]]:
        """Finds all required files, then returns the examples of every split.

        Args:
          files: Source folder of the user.

        Returns:
          Split to examples, which may be generated lazily. An image may be a `SourceImage`,
          which is decoded when its example is written.

        Raises:
          BuildError: if a file is absent or cannot be read.
        """

    def _info(self) -> tfds.core.DatasetInfo:
        """Returns the features, with the picture and the answer as supervised keys."""
        return self.dataset_info_from_configs(
            features=example_features(),
            supervised_keys=("image", "answer"),
            metadata=tfds.core.MetadataDict(self.METADATA),
        )

    def open_folder(self, root: pathlib.Path | None) -> SourceFolder:
        """Opens the folder of the source files, None if the user gave none."""
        return SourceFolder(root, self.ORIGIN, self.read_options)

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        """Finds all files before the first example is made."""
        files = self.open_folder(manual_folder(dl_manager))
        self.source_files = files
        self.info.metadata.pop(SKIPPED_ROWS, None)  # of an earlier build that is made again
        return {
            name: self._checked(name, examples, files.check)
            for name, examples in self.splits(files).items()
        }

    def _checked(
        self, split: str, examples: Iterable[dict[str, Any]], check: RowCheck
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields (key, example), keeps the count of skipped rows, and raises for an empty split."""

        def finish(numbered: tuple[int, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
            number, example = numbered
            image = example["image"]
            is_named = isinstance(image, SourceImage)
            where = image.where if is_named else f"split {split}, example {number}"
            check.check_example(where, example)
            if is_named:
                example = example | {"image": image.read(check.options.decoding)}
            return example["example_id"], example

        empty = True
        for keyed in check.each(enumerate(examples), finish):
            empty = False
            yield keyed
        skipped = f"; {describe_skipped(check.skipped)}" if check.skipped else ""
        if empty:
            raise BuildError(
                f"split {split} has no example; is the file that lists them empty?{skipped}"
            )
        if skipped:
            self.info.metadata[SKIPPED_ROWS] = dict(check.skipped)

    def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Required by TFDS but unused: `splits` makes the examples."""
        raise NotImplementedError("the examples come from splits()")


def manual_folder(dl_manager: Any) -> pathlib.Path | None:
    """Returns the folder of source files that the user gave, or None."""
    try:
        return pathlib.Path(dl_manager.manual_dir)
    except (AssertionError, OSError):  # raised by TFDS if the folder is absent or empty
        return None
