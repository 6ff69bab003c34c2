"""Builds of any dataset from its dummy_data folder."""

import dataclasses
import functools
import importlib
import pathlib

import tensorflow_datasets as tfds

from tests.tfds_medvqa import medmnist_files
from tests.tfds_medvqa.dummy_files import DATASETS
from tfds_medvqa.build import BUILDERS, DEFAULT_OPTIONS, prepare
from tfds_medvqa.common.rows import ReadOptions
from tfds_medvqa.medvqa_fl import records
from tfds_medvqa.medvqa_fl.medvqa_fl_dataset_builder import MedVQAConfig

NO_FILES = "phantom_medvqa"
"""The one dataset that is drawn."""


@functools.cache
def builder_class(dataset: str) -> type[tfds.core.GeneratorBasedBuilder]:
    return importlib.import_module(BUILDERS[dataset]).Builder


def names() -> list[str]:
    """Every dataset and config that its dummy data can build."""
    once = {"medvqa_fl": ["dummy"], NO_FILES: ["tiny"]}
    return [
        f"{dataset}/{config}"
        for dataset in BUILDERS
        for config in once.get(dataset) or builder_class(dataset).builder_configs
    ]


def dummy_folder(dataset: str) -> pathlib.Path | None:
    return None if dataset == NO_FILES else DATASETS / dataset / "dummy_data"


def dummy_medvqa_fl() -> MedVQAConfig:
    """All twelve subsets, expecting the files of dummy_data."""
    folder = DATASETS / "medvqa_fl" / "dummy_data"
    known = {
        name: medmnist_files.with_md5_of(
            folder / record.file_name(28),
            dataclasses.replace(record, counts=medmnist_files.FEW),
        )
        for name, record in records.load().items()
    }
    return MedVQAConfig(name="dummy", records=known)


def build_dummy(
    name: str,
    data_dir: pathlib.Path,
    manual_dir: pathlib.Path | None = None,
    options: ReadOptions = DEFAULT_OPTIONS,
) -> tfds.core.DatasetBuilder:
    """Builds a dataset from its dummy data, or from a changed copy of it."""
    dataset, _, config = name.partition("/")
    chosen = dummy_medvqa_fl() if dataset == "medvqa_fl" else config
    builder = builder_class(dataset)(config=chosen, data_dir=data_dir, file_format="array_record")
    prepare(builder, manual_dir or dummy_folder(dataset), options)
    return builder


def texts(builder: tfds.core.DatasetBuilder) -> dict[str, list[dict[str, object]]]:
    """Every split's examples with their images still encoded, which is much faster."""
    skip = {"image": tfds.decode.SkipDecoding()}
    return {
        split: list(builder.as_data_source(split, decoders=skip)) for split in builder.info.splits
    }
