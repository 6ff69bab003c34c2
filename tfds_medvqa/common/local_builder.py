"""Base of all builders: TFDS's own, without its look-ups in a public bucket."""

from typing import Any

import tensorflow_datasets as tfds


class LocalInfo(tfds.core.DatasetInfo):
    """Description of a dataset that only its own files fill in."""

    def initialize_from_bucket(self) -> None:
        """Does nothing.

        TFDS would ask a bucket for the dataset by its name, and leave an empty folder per builder
        among the temporary files.
        """


class LocalBuilder(tfds.core.GeneratorBasedBuilder):
    """Builder of a dataset that no bucket has."""

    def dataset_info_from_configs(self, **options: Any) -> tfds.core.DatasetInfo:
        """Returns the description, with the texts of the builder's folder.

        Args:
          **options: Arguments of `tfds.core.DatasetInfo`.
        """
        texts = self.get_metadata()
        given = {"description": texts.description, "citation": texts.citation}
        options |= {name: text for name, text in given.items() if text}
        return LocalInfo(builder=self, **options)
