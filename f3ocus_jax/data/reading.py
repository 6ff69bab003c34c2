"""How do built TFDS datasets become the clients of a federation?"""

import dataclasses
from collections.abc import Mapping
from typing import cast

import jax
import numpy as np
import tensorflow_datasets as tfds

from f3ocus_jax import hosts as distributed
from f3ocus_jax.config import require
from f3ocus_jax.data import cache, images, overlap, partition, summary as summary_lib, targets
from f3ocus_jax.data.answers import AnswerVocabulary
from f3ocus_jax.data.examples import ClientData, Elsewhere, Examples
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.settings import DataConfig
from f3ocus_jax.data.summary import Summary
from f3ocus_jax.data.table import Table
from f3ocus_jax.data.tokenizer import Tokenizer
from f3ocus_jax.errors import DataError
from tfds_medvqa.build import build
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.features import QUESTION_ANSWERING

__all__ = ["DataError", "Federation", "decode_image", "read_federation", "read_tables"]

SPLITS = ("train", "test")
VALIDATION = "validation"
"""The split on which thresholds are chosen; read where a dataset has findings."""

decode_image = images.decode_image


@dataclasses.dataclass(frozen=True)
class Federation:
    """The clients' data and the answers they share.

    Attributes:
      clients: in the order of the datasets, and by name within one; of those that belong to another
        host, only the sizes are here.
      vocabulary: of the training answers of all clients that answer questions.
      findings: of all datasets that have some, in the order of their first mention.
      summary: who holds what.
    """

    clients: list[ClientData]
    vocabulary: AnswerVocabulary
    findings: tuple[str, ...]
    summary: Summary


def read_federation(
    config: DataConfig,
    *,
    frame: Canvas,
    tokenizer: Tokenizer,
    vocabulary: AnswerVocabulary | None = None,
) -> Federation:
    """Reads all datasets, building those that are absent, and deals them to clients.

    Args:
      config: which datasets, and which rule tells the client.
      frame: the canvas the images are put on.
      tokenizer: of the questions.
      vocabulary: answers to use; from the training splits unless given.

    Returns:
      The federation.

    Raises:
      BuildError: if datasets cannot be built; lists all of them.
      ConfigError: for a partition that does not fit the data.
      DataError: for an example that cannot be decoded, or a client without examples in a split.
    """
    clients, summary = read_tables(config, frame)
    tasks = partition.tasks(list(clients.values()))
    if vocabulary is None:
        vocabulary = _vocabulary(clients, tasks, config.minimum_answer_count)
    findings = targets.names(list(clients.values()))
    hosts, allowed = jax.process_count(), f"at most {len(clients)}, the clients"
    require(hosts <= len(clients), "distributed.hosts", hosts, allowed)
    here_K = distributed.local_clients_mask(len(clients))
    data = [
        ClientData(
            name,
            **{
                split: _examples(table, tokenizer, vocabulary, findings, config)
                if here
                else cast(Examples, Elsewhere(len(table), task))
                for split, table in splits.items()
            },
        )
        for (name, splits), task, here in zip(clients.items(), tasks, here_K, strict=True)
    ]
    return Federation(data, vocabulary, findings, summary)


def _vocabulary(
    clients: Mapping[str, Mapping[str, Table]], tasks: list[str], minimum_count: int
) -> AnswerVocabulary:
    """Gathers the training answers of the clients that answer questions, and no other answers."""
    answers = [
        splits["train"].texts("answer")
        for splits, task in zip(clients.values(), tasks, strict=True)
        if task == QUESTION_ANSWERING
    ]
    if not answers:
        return AnswerVocabulary(())
    return AnswerVocabulary.from_answers(answers, minimum_count)


def read_tables(config: DataConfig, frame: Canvas) -> tuple[dict[str, dict[str, Table]], Summary]:
    """Reads and deals the examples, before anything is tokenised.

    Args:
      config: which datasets, and which rule tells the client.
      frame: the canvas the images are put on.

    Returns:
      (client to split to examples, who holds what).

    Raises:
      BuildError, ConfigError, DataError: as `read_federation`.
    """
    datasets = _read_datasets(config, frame)
    dropped: dict[str, tuple[int, int]] = {}
    near = overlap.DUPLICATES[config.duplicates]
    if near is not None and len(datasets) > 1:
        datasets, dropped = overlap.drop_shared(datasets, near)
    clients = partition.assign(config, datasets)
    for name, splits in clients.items():
        for split, table in splits.items():
            if not len(table):
                raise DataError(f"client {name} has no {split} example in {config.datasets}")
    return clients, summary_lib.summarise(clients, dropped)


def _read_datasets(config: DataConfig, frame: Canvas) -> dict[str, Mapping[str, Table]]:
    """Builds what is absent; says of all datasets at once what is missing."""
    builders, problems = {}, []
    for dataset in config.datasets:
        try:
            builders[dataset] = build(dataset, config.data_dir, config.manual_dir or None)
        except BuildError as error:
            problems.append(str(error))
    if problems:
        listed = (
            problems if len(problems) == 1 else [f"({i}) {p}" for i, p in enumerate(problems, 1)]
        )
        raise BuildError("; ".join(listed))
    return {
        dataset: {split: cache.load(builder, dataset, split, frame) for split in _splits(builder)}
        for dataset, builder in builders.items()
    }


def _splits(builder: tfds.core.DatasetBuilder) -> tuple[str, ...]:
    """Returns the splits that are of use; that for thresholds is where there are findings."""
    has_findings = "findings" in (builder.info.metadata or {})
    return (*SPLITS, VALIDATION) if has_findings else SPLITS


def _examples(
    table: Table,
    tokenizer: Tokenizer,
    vocabulary: AnswerVocabulary,
    findings: tuple[str, ...],
    config: DataConfig,
) -> Examples:
    """Makes arrays of a client's split; every different question is tokenised once."""
    questions, answers = table.columns["question"], table.columns["answer"]
    input_ids_QT, attention_mask_QT = tokenizer.encode(questions.values, config.question_length)
    classes_A = np.array([vocabulary.index(answer) for answer in answers.values], np.int32)
    return Examples(
        images_NHWC=table.images,
        input_ids_NT=input_ids_QT[questions.code_N],
        attention_mask_NT=attention_mask_QT[questions.code_N],
        labels_N=classes_A[answers.code_N],
        questions=questions.texts(),
        answers=answers.texts(),
        question_types=table.texts("question_type"),
        answer_types=table.texts("answer_type"),
        image_ids=table.texts("image_id"),
        targets_NF=targets.of_table(table, findings) if findings else None,
        image_size_N2=table.image_size_N2,
    )
