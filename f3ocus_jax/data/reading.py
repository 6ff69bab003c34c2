"""Reading of built TFDS datasets as the clients of a federation."""

import dataclasses
import logging
from collections.abc import Mapping
from typing import cast

import jax
import numpy as np
import tensorflow_datasets as tfds

from f3ocus_jax import hosts as distributed
from f3ocus_jax.config import require
from f3ocus_jax.data import (
    cache,
    evaluated,
    images,
    overlap,
    own_data,
    partition,
    summary as summary_lib,
    targets,
    text_report,
    validation,
)
from f3ocus_jax.data.answers import AnswerVocabulary, count_answers
from f3ocus_jax.data.examples import ClientData, Examples, RemoteExamples
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.settings import DataConfig
from f3ocus_jax.data.summary import Summary
from f3ocus_jax.data.table import Table
from f3ocus_jax.data.tokenizer import Tokenizer
from f3ocus_jax.data.validation import VALIDATION
from f3ocus_jax.errors import ConfigError, DamagedError, DataError
from tfds_medvqa.build import build
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.features import CLASSIFICATION, QUESTION_ANSWERING
from tfds_medvqa.common.printable import printable

__all__ = ["DataError", "Federation", "decode_image", "read_federation", "read_tables"]

SPLITS = ("train", "test")

decode_image = images.decode_image

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Federation:
    """The clients' data and the answers they share.

    Attributes:
      clients: Clients in the order of the datasets, then by name; only sizes for those of other
        hosts.
      vocabulary: Training answers of all clients that answer questions.
      findings: F names over all datasets, in the order of their first occurrence.
      summary: Counts of the federation.
    """

    clients: list[ClientData]
    vocabulary: AnswerVocabulary
    findings: tuple[str, ...]
    summary: Summary


def read_federation(
    config: DataConfig,
    *,
    canvas: Canvas,
    tokenizer: Tokenizer,
    vocabulary: AnswerVocabulary | None = None,
    findings: tuple[str, ...] | None = None,
    writes_answers: bool = False,
    gather: own_data.Gather = own_data.alone,
) -> Federation:
    """Reads all datasets, building those that are absent, and assigns them to clients.

    A training example whose answer is outside the vocabulary has no loss in a model that classifies
    answers. It is left out, so that it counts in no client's weight, steps and batches.

    Args:
      config: Datasets and partition rules.
      canvas: Canvas that the images are fitted to.
      tokenizer: Tokenizer of the questions.
      vocabulary: Answer vocabulary; None to make it from the training splits.
      findings: Names of the findings; None to take those of the datasets.
      writes_answers: True for a model that writes answers, which learns from every answer.
      gather: `hosts.all_gather` where each host reads datasets of its own; `own_data.alone` where
        every host can read all data, of which it keeps its clients'.

    Returns:
      The federation; a client without any training example left is not in it.

    Raises:
      BuildError: if datasets cannot be built; the message lists all of them.
      ConfigError: for a partition that does not fit the data.
      DataError: for an example that cannot be decoded, or a client without examples in a split.
    """
    clients, summary = read_tables(config, canvas, gather)
    return make_federation(
        config,
        clients,
        summary,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        findings=findings,
        writes_answers=writes_answers,
        gather=gather,
    )


def make_federation(
    config: DataConfig,
    clients: Mapping[str, dict[str, Table]],
    summary: Summary,
    *,
    tokenizer: Tokenizer,
    vocabulary: AnswerVocabulary | None = None,
    findings: tuple[str, ...] | None = None,
    writes_answers: bool = False,
    gather: own_data.Gather = own_data.alone,
) -> Federation:
    """Makes the federation of clients that were read.

    Args:
      config: Datasets and partition rules.
      clients: Client to split to examples, from `read_tables`.
      summary: Counts of the federation, likewise.
      tokenizer: See `read_federation`, as all that follow.
      vocabulary: Answer vocabulary.
      findings: Names of the findings.
      writes_answers: True for a model that writes answers.
      gather: Exchange between hosts.

    Returns:
      The federation.

    Raises:
      ConfigError: If a dataset has findings that are not among `findings`.
    """
    tasks = partition.client_tasks(list(clients.values()))
    if vocabulary is None:
        vocabulary = _vocabulary(clients, tasks, config.minimum_answer_count, gather)
    texts = text_report.report_texts(clients, tokenizer, config.question_length)
    texts = own_data.join_reports(gather, texts)
    text_report.check_known(texts, config.max_unknown_share)
    if not writes_answers:
        clients = _with_known_answers(clients, tasks, vocabulary, config.minimum_answer_count)
        tasks = partition.client_tasks(list(clients.values()))
    named = own_data.join_lists(gather, targets.finding_names(list(clients.values())))
    findings = tuple(dict.fromkeys(named)) if findings is None else findings
    if unknown := sorted(set(named) - set(findings)):
        raise ConfigError(f"the datasets have findings that the run does not know: {unknown[0]!r}")
    here_K = _here(len(clients), gather)
    data = [
        ClientData(
            name,
            **{
                split: _examples(table, tokenizer, vocabulary, findings, config)
                if here
                else cast(Examples, RemoteExamples(len(table), task))
                for split, table in splits.items()
            },
        )
        for (name, splits), task, here in zip(clients.items(), tasks, here_K, strict=True)
    ]
    data = own_data.join_clients(gather, data)
    summary = dataclasses.replace(summary, texts=texts, question_length=config.question_length)
    return Federation(data, vocabulary, findings, summary)


def _here(count: int, gather: own_data.Gather) -> np.ndarray:
    """Returns here_K, True for clients that are this host's: all that it can read, or its share."""
    if gather is not own_data.alone:
        return np.ones(count, bool)
    hosts = jax.process_count()
    require(hosts <= count, "distributed.hosts", hosts, f"at most {count}, the clients")
    return distributed.dealt_mask(count)


def _vocabulary(
    clients: Mapping[str, Mapping[str, Table]],
    tasks: list[str],
    minimum_count: int,
    gather: own_data.Gather,
) -> AnswerVocabulary:
    """Makes the vocabulary from the training answers of the clients that answer questions."""
    answers = [
        splits["train"].texts("answer")
        for splits, task in zip(clients.values(), tasks, strict=True)
        if task == QUESTION_ANSWERING
    ]
    counts = own_data.join_counts(gather, count_answers(answers))
    return AnswerVocabulary.from_counts(counts, minimum_count) if counts else AnswerVocabulary(())


def _with_known_answers(
    clients: Mapping[str, Mapping[str, Table]],
    tasks: list[str],
    vocabulary: AnswerVocabulary,
    minimum_count: int,
) -> dict[str, dict[str, Table]]:
    """Leaves out the training examples that have no loss, and clients without others."""
    kept: dict[str, dict[str, Table]] = {}
    for (name, splits), task in zip(clients.items(), tasks, strict=True):
        kept[name] = dict(splits)
        if task != QUESTION_ANSWERING:
            continue
        table = splits["train"]
        answers = table.columns["answer"]
        known_A = np.array([vocabulary.index(answer) >= 0 for answer in answers.values], bool)
        known_N = known_A[answers.code_N]
        absent = int((~known_N).sum())
        if not absent:
            continue
        kept[name]["train"] = table.take(known_N)
        rest = "the client is left out" if absent == len(table) else "they are left out"
        logger.warning(
            "client %s: %d of %d training examples have an answer that occurs fewer than %d times "
            "in training (config.data.minimum_answer_count); %s",
            *(printable(name), absent, len(table), minimum_count, rest),
        )
        if absent == len(table):
            del kept[name]
    return kept


def read_tables(
    config: DataConfig, canvas: Canvas, gather: own_data.Gather = own_data.alone
) -> tuple[dict[str, dict[str, Table]], Summary]:
    """Reads the examples and assigns them to clients, without tokenising them.

    Args:
      config: Datasets and partition rules.
      canvas: Canvas that the images are fitted to.
      gather: See `read_federation`.

    Returns:
      (client to split to examples, counts of the federation); with datasets of its own a host has
      the examples of its own clients, and the counts of all.

    Raises:
      BuildError: if datasets cannot be built; the message lists all of them.
      ConfigError: for a partition that does not fit the data.
      DataError: for an example that cannot be decoded, or a client without examples in a split.
    """
    datasets = _read_datasets(config, canvas)
    dropped: dict[str, tuple[int, int]] = {}
    near = overlap.DUPLICATES[config.duplicates]
    if near is not None:
        elsewhere_M = own_data.earlier_hashes(gather, datasets)
        datasets, dropped = overlap.drop_duplicates(datasets, near, elsewhere_M)
    clients = partition.assign(config, datasets)
    own_data.check_names(gather, clients)
    share, seed = config.validation_share, config.split_seed
    clients, without = validation.hold_out(clients, share, seed)
    clients = evaluated.limit(clients, config.evaluated_examples, seed)
    for name, splits in clients.items():
        finds = CLASSIFICATION in splits["train"].columns["task"].values
        for split in (*SPLITS, VALIDATION) if finds else SPLITS:
            if split not in splits or not len(splits[split]):
                raise DataError(f"client {name} has no {split} example in {config.datasets}")
    trained = summary_lib.training_answers(clients)
    summary = summary_lib.summarise(clients, dropped, own_data.join_lists(gather, trained), without)
    return clients, own_data.join_summaries(gather, summary)


def _read_datasets(config: DataConfig, canvas: Canvas) -> dict[str, Mapping[str, Table]]:
    """Builds absent datasets; one error lists all that cannot be built."""
    builders, problems = {}, []
    for dataset in config.datasets:
        try:
            builders[dataset] = build(
                dataset, config.data_dir, config.manual_dir or None, config.read_options
            )
        except BuildError as error:
            problems.append(str(error))
    if problems:
        listed = (
            problems if len(problems) == 1 else [f"({i}) {p}" for i, p in enumerate(problems, 1)]
        )
        raise BuildError("; ".join(listed))
    return {
        dataset: _read_splits(builder, dataset, config, canvas)
        for dataset, builder in builders.items()
    }


def _read_splits(
    builder: tfds.core.DatasetBuilder, dataset: str, config: DataConfig, canvas: Canvas
) -> dict[str, Table]:
    """Reads the splits of a dataset, and builds it again if its examples turn out as damaged."""

    def read(builder: tfds.core.DatasetBuilder) -> dict[str, Table]:
        return {
            split: cache.load(builder, dataset, split, canvas, config.read_options.decoding)
            for split in _splits(builder, config)
        }

    try:
        return read(builder)
    except DamagedError:
        manual_dir, options = config.manual_dir or None, config.read_options
        return read(build(dataset, config.data_dir, manual_dir, options, reread=True))


def _splits(builder: tfds.core.DatasetBuilder, config: DataConfig) -> tuple[str, ...]:
    """Returns the splits to read: findings need validation for their thresholds in any case."""
    has_findings = "findings" in (builder.info.metadata or {})
    is_released = VALIDATION in builder.info.splits and config.validation_share > 0
    return (*SPLITS, VALIDATION) if has_findings or is_released else SPLITS


def _examples(
    table: Table,
    tokenizer: Tokenizer,
    vocabulary: AnswerVocabulary,
    findings: tuple[str, ...],
    config: DataConfig,
) -> Examples:
    """Makes arrays of a client's split; every distinct question is tokenised once."""
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
        targets_NF=targets.make_targets(table, findings) if findings else None,
        image_size_N2=table.image_size_N2,
    )
