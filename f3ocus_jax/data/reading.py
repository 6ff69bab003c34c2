"""How do built TFDS datasets become the clients of a federation?"""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

import grain
import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from f3ocus_jax.config import ConfigError, DataConfig
from f3ocus_jax.data.answers import AnswerVocabulary
from f3ocus_jax.data.examples import ClientData, Examples
from f3ocus_jax.data.text import Tokenizer
from tfds_medvqa.build import build

SPLITS = ("train", "test")
TEXT_FEATURES = ("question", "answer", "question_type", "answer_type", "image_id")


class DataError(ValueError):
    """A dataset that cannot be used: the message names the dataset, split and example."""


@dataclasses.dataclass(frozen=True)
class Federation:
    """The clients' data and the answers they share.

    Attributes:
      clients: in the order of the datasets, and by name within one.
      vocabulary: of the training answers of all clients.
    """

    clients: list[ClientData]
    vocabulary: AnswerVocabulary


def read_federation(
    config: DataConfig,
    *,
    image_size: int,
    tokenizer: Tokenizer,
    vocabulary: AnswerVocabulary | None = None,
) -> Federation:
    """Reads all datasets, building those that are absent, and deals them to clients.

    Args:
      config: which datasets, and which feature tells the client.
      image_size: side the images are resized to, in pixels.
      tokenizer: of the questions.
      vocabulary: answers to use; from the training splits unless given.

    Returns:
      The federation.

    Raises:
      ConfigError: for a partition that is no feature of the data.
      DataError: for an example that cannot be decoded, or a client without examples in a split.
    """
    grouped = _group(config, image_size)
    for client, splits in grouped.items():
        for split, records in splits.items():
            if not records:
                raise DataError(f"client {client} has no {split} example in {config.datasets}")
    if vocabulary is None:
        answers = [[record["answer"] for record in splits["train"]] for splits in grouped.values()]
        vocabulary = AnswerVocabulary.from_answers(answers, config.minimum_answer_count)

    def examples(records: Sequence[Mapping[str, Any]]) -> Examples:
        return _stack(records, tokenizer, vocabulary, config.question_length)

    clients = [
        ClientData(name, examples(splits["train"]), examples(splits["test"]))
        for name, splits in grouped.items()
    ]
    return Federation(clients, vocabulary)


def decode_image(encoded: bytes, size: int) -> np.ndarray:
    """Decodes an image file.

    Args:
      encoded: a PNG or JPEG file.
      size: side of the result, in pixels.

    Returns:
      uint8 [size, size, 3].

    Raises:
      OSError: if the bytes are no image.
    """
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))


def _group(config: DataConfig, image_size: int) -> dict[str, dict[str, list[Mapping[str, Any]]]]:
    """Returns the records by client and split."""
    grouped: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for dataset in config.datasets:
        splits = {name: _read_split(dataset, name, config, image_size) for name in SPLITS}
        records = [(split, record) for split in SPLITS for record in splits[split]]
        for client in sorted({record["client name"] for _, record in records}):
            grouped.setdefault(client, {name: [] for name in SPLITS})
        for split, record in records:
            grouped[record["client name"]][split].append(record)
    return grouped


def _read_split(
    dataset: str, split: str, config: DataConfig, image_size: int
) -> list[Mapping[str, Any]]:
    builder = build(dataset, config.data_dir, manual_dir=config.manual_dir or None)
    source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})

    def decode(index: int) -> Mapping[str, Any]:
        try:
            record = source[int(index)]
            image = decode_image(record["image"], image_size)
        except (OSError, SyntaxError, ValueError, RuntimeError) as error:
            raise DataError(
                f"{dataset}, split {split}, example {index}: cannot be read ({error}); "
                "delete the built dataset and build it again"
            ) from error
        texts = {name: record[name].decode() for name in TEXT_FEATURES}
        client = _client_of(record, dataset, config.partition)
        return texts | {"image": image, "client name": client}

    return list(grain.MapDataset.range(len(source)).map(decode).to_iter_dataset())


def _client_of(record: Mapping[str, Any], dataset: str, partition: str) -> str:
    if partition == "dataset":
        return dataset
    if partition not in record:
        names = ", ".join(sorted(record))
        raise ConfigError(
            f"config.data.partition = {partition!r}, must be dataset or one of {names}"
        )
    value = record[partition]
    return value.decode() if isinstance(value, bytes) else str(value)


def _stack(
    records: Sequence[Mapping[str, Any]],
    tokenizer: Tokenizer,
    vocabulary: AnswerVocabulary,
    question_length: int,
) -> Examples:
    columns = {name: [record[name] for record in records] for name in TEXT_FEATURES}
    input_ids_NT, attention_mask_NT = tokenizer.encode(columns["question"], question_length)
    return Examples(
        images_NHWC=np.stack([record["image"] for record in records]),
        input_ids_NT=input_ids_NT,
        attention_mask_NT=attention_mask_NT,
        labels_N=np.array([vocabulary.index(answer) for answer in columns["answer"]], np.int32),
        questions=columns["question"],
        answers=columns["answer"],
        question_types=columns["question_type"],
        answer_types=columns["answer_type"],
        image_ids=columns["image_id"],
    )
