"""Builder of the phantom dataset."""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from tfds_medvqa.common.features import example_features
from tfds_medvqa.common.local_builder import LocalBuilder
from tfds_medvqa.phantom_medvqa.phantom_config import PhantomConfig
from tfds_medvqa.phantom_medvqa.phantoms import SPLITS, generate


class Builder(LocalBuilder):
    """Draws phantoms of nine modalities; needs no file, no network and no TensorFlow.

    `Builder(config="tiny", data_dir=folder, file_format="array_record")`, or, with your own
    options, `Builder(config=PhantomConfig(images_per_client=5, shift=0.5), ...)`.
    """

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {"1.0.0": "Initial release.", "1.1.0": "Example ids and tasks."}
    BUILDER_CONFIGS = [
        PhantomConfig(
            name="clients",
            description="Nine hospitals with one modality each, unequal and far apart.",
        ),
        PhantomConfig(
            name="public",
            description="Pooled data of all modalities from one machine, to pre-train on.",
            images_per_client=500,
            seed=1,
            shift=0.0,
        ),
        PhantomConfig(
            name="tiny",
            description="A few images of each hospital, for tests.",
            images_per_client=40,
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        """Returns the features, with the picture and the answer as supervised keys."""
        return self.dataset_info_from_configs(
            features=example_features(), supervised_keys=("image", "answer")
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        """Returns the train and test examples; nothing is downloaded."""
        del dl_manager
        return {split: generate(self.builder_config, split) for split in SPLITS}

    def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Required by TFDS but unused: `_split_generators` returns the generators."""
        raise NotImplementedError("the examples come from tfds_medvqa.phantom_medvqa.phantoms")
