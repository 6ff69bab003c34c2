"""Builder of MedVQA-FL: a config per client and resolution, and one for all clients."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tfds_medvqa.common.draws import Draws
from tfds_medvqa.common.features import example_features, question_example
from tfds_medvqa.common.findings import labelled_example
from tfds_medvqa.common.images import encode_png
from tfds_medvqa.common.local_builder import LocalBuilder
from tfds_medvqa.common.rows import ENGLISH
from tfds_medvqa.medvqa_fl import archives, files, questions, records
from tfds_medvqa.medvqa_fl.records import RESOLUTIONS, Record
from tfds_medvqa.medvqa_fl.sources import CLIENTS, SOURCES, sources_of

TRAIN_SHARE = 0.8
RELEASED = {"train": "train", "validation": "val", "test": "test"}
"""Maps a split to MedMNIST's name for it."""

FINDINGS = "chest_xray_findings"
"""Name of the config with ChestMNIST's fourteen findings as targets."""

OWN_SPLITS = "_own_splits"
"""End of the names of configs with questions in MedMNIST's own splits."""


@dataclasses.dataclass(eq=False)
class MedVQAConfig(tfds.core.BuilderConfig):
    """Some of the twelve sources at one resolution.

    Attributes:
      sources: Names of MedMNIST subsets.
      resolution: Side of the images in pixels, one of `RESOLUTIONS`.
      findings: If True, the target is the label vector of the only source, which must be
        multi-label, in MedMNIST's own splits; otherwise it is an answer.
      own_splits: If True, training, validation and test examples are those of MedMNIST; otherwise
        the union of all three is split anew, 80 % for training and 20 % for testing, as the paper
        splits every client.
      records: Subset name to the expected content of its file; by default MedMNIST's records.
    """

    sources: tuple[str, ...] = tuple(SOURCES)
    resolution: int = 28
    findings: bool = False
    own_splits: bool = False
    records: Mapping[str, Record] = dataclasses.field(default_factory=records.load)

    def __post_init__(self) -> None:
        """Validates the options.

        Raises:
          ValueError: for an unknown source or resolution.
        """
        unknown = [name for name in self.sources if name not in SOURCES]
        if unknown or not self.sources:
            raise ValueError(f"sources are {self.sources}; give some of {', '.join(SOURCES)}")
        if self.resolution not in RESOLUTIONS:
            raise ValueError(f"resolution is {self.resolution!r}; give one of {RESOLUTIONS}")
        if self.findings and not (len(self.sources) == 1 and self.only.multi_label):
            raise ValueError(f"findings are asked of one multi-label source, not {self.sources}")

    @property
    def only(self) -> Record:
        """Record of the only source of a config with findings."""
        return self.records[self.sources[0]]


def _configs() -> list[MedVQAConfig]:
    """Returns all configs of the dataset."""
    parts = {client: sources_of(client) for client in CLIENTS}
    parts["all"] = tuple(SOURCES)
    parts["chest_xray_pneumonia"] = ("pneumoniamnist",)
    parts[FINDINGS] = ("chestmnist",)
    return [
        MedVQAConfig(
            name=(name if resolution == 28 else f"{name}_{resolution}") + suffix,
            description=f"{', '.join(sources)} at {resolution} px{', own splits' * bool(suffix)}.",
            sources=sources,
            resolution=resolution,
            findings=name == FINDINGS,
            own_splits=bool(suffix),
        )
        for suffix in ("", OWN_SPLITS)
        for resolution in RESOLUTIONS
        for name, sources in parts.items()
        if not (suffix and name == FINDINGS)
    ]


class Builder(LocalBuilder):
    """Turns MedMNIST v2's images and labels into question-answer pairs; needs no TensorFlow."""

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES = {
        "1.0.0": "Initial release.",
        "1.1.0": "Example ids and tasks.",
        "2.0.0": "Another wording of the question for the side of a CT organ.",
    }
    BUILDER_CONFIGS = _configs()
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Optional: MedMNIST's npz files under their own names; what is absent is downloaded."
    )

    def _info(self) -> tfds.core.DatasetInfo:
        """Returns the features, with the picture and the answer as supervised keys."""
        config = self.builder_config
        names = {"findings": list(config.only.labels)} if config.findings else None
        return self.dataset_info_from_configs(
            features=example_features(),
            supervised_keys=("image", "answer"),
            metadata=tfds.core.MetadataDict(names) if names else None,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        """Finds and checks all files before the first example is made."""
        config = self.builder_config
        paths = {
            name: files.locate(dl_manager, config.records[name], config.resolution)
            for name in config.sources
        }
        for name, path in paths.items():
            archives.check_md5(path, config.records[name].md5[config.resolution])
        if config.findings:
            (path,) = paths.values()
            return {split: self._generate_findings(path, split) for split in RELEASED}
        splits = RELEASED if config.own_splits else ("train", "test")
        return {split: self._generate_examples(paths, split) for split in splits}

    def _generate_examples(
        self, paths: Mapping[str, pathlib.Path], split: str
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields the examples of one split, source by source."""
        config = self.builder_config
        for name, path in paths.items():
            record = config.records[name]
            split_of = released_split if config.own_splits else make_split(record)
            for image_id, image, label in archives.read(path, record, config.resolution):
                if split_of(image_id) == split:
                    yield image_id, make_example(image_id, image, label, record)

    def _generate_findings(
        self, path: pathlib.Path, split: str
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields the examples of one of MedMNIST's own splits, with their label vectors."""
        config = self.builder_config
        record = config.only
        for image_id, image, label in archives.read(path, record, config.resolution):
            if released_split(image_id) == split:
                yield (
                    image_id,
                    labelled_example(
                        image=encode_png(image),
                        image_id=image_id,
                        example_id=image_id,
                        label=label,
                        names=record.labels,
                        source=record.name,
                        client=SOURCES[record.name].client,
                        language=ENGLISH,
                    ),
                )


def training_images(record: Record) -> frozenset[str]:
    """Chooses the training split of a source: 80 % of the union of MedMNIST's own splits.

    The count is exact, and drawn by a hash of the image's id, so that it is the same in every
    build, at every resolution and in every config.

    Args:
      record: Record of the source.

    Returns:
      The image ids of the training split; all others are test.
    """
    order = sorted(record.image_ids(), key=lambda image_id: Draws(image_id).integer("split"))
    return frozenset(order[: round(TRAIN_SHARE * len(order))])


def make_split(record: Record) -> Callable[[str], str]:
    """Makes the function from an image's id to its split, "train" or "test", drawn anew."""
    training = training_images(record)
    return lambda image_id: "train" if image_id in training else "test"


def released_split(image_id: str) -> str:
    """Returns the split in which MedMNIST releases an image.

    >>> released_split("breastmnist/val/17")
    'validation'
    """
    part = image_id.split("/")[1]
    return next(split for split, name in RELEASED.items() if name == part)


def make_example(
    image_id: str, image: np.ndarray, label: tuple[int, ...], record: Record
) -> dict[str, Any]:
    """Makes an example of the shared feature specification.

    Args:
      image_id: Identifier of the image, such as "breastmnist/train/17".
      image: uint8 [side, side] or [side, side, 3].
      label: Label vector of the source.
      record: Record of the source.

    Returns:
      The features by name.
    """
    source = SOURCES[record.name]
    triplet = questions.ask(image_id, source, record, label)
    return question_example(
        image=encode_png(image),
        image_id=image_id,
        example_id=image_id,
        question=triplet.question,
        answer=triplet.answer,
        question_type=triplet.question_type,
        client=source.client,
        modality=source.modality,
        anatomy=triplet.anatomy,
        source=record.name,
        language=ENGLISH,
        label=label,
    )
