"""Counts of a federation's data: printed at start, stored, and compared when a run resumes."""

import collections
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from f3ocus_jax.data import overlap
from f3ocus_jax.data.partition import example_labels
from f3ocus_jax.data.table import Table
from f3ocus_jax.data.text_report import TextReport
from f3ocus_jax.errors import ConfigError, DamagedError
from tfds_medvqa.common import whole_file
from tfds_medvqa.common.printable import printable

PARTITION_FILE = "partition.json"
LONGEST_NAME = 60
"""Characters of a name or label in a printed line; the middle of a longer one is left out."""

COMMON_LABELS = 20
"""Number of a client's labels that are listed; the rest are counted together."""


@dataclasses.dataclass(frozen=True)
class ClientSummary:
    """One client.

    Attributes:
      name: Name of the client.
      task: Question answering or classification.
      datasets: Names of the datasets that its examples come from.
      examples: Number of examples per split.
      images: Number of distinct images per split.
      labels: Training answers or findings to their number of examples, most frequent first.
      different_labels: Number of distinct labels.
      question_types: Question types of training to their number of examples.
      answer_types: Answer types of training to their number of examples.
      unseen_answers: Fraction of test examples whose answer no client has in training.
      repeats: Number of examples per split whose image, question and answer another one has, too.
      patients: Number of patients per split, as far as they are known.
      shared_patients: Number of patients in the test split and in another one.
    """

    name: str
    task: str
    datasets: list[str]
    examples: dict[str, int]
    images: dict[str, int]
    labels: dict[str, int]
    different_labels: int
    question_types: dict[str, int]
    answer_types: dict[str, int]
    unseen_answers: float
    repeats: dict[str, int]
    patients: dict[str, int]
    shared_patients: int

    def doubts(self) -> list[str]:
        """Returns what makes the counts of this client doubtful, in words."""
        found = []
        if self.unseen_answers:
            found.append(
                f"{100 * self.unseen_answers:.0f} % of the test answers are no training answer of "
                "any client, and count as answered wrongly"
            )
        found += [
            f"{count} of {self.examples[split]} {split} examples repeat the image, question and "
            "answer of another"
            for split, count in self.repeats.items()
            if count
        ]
        if self.shared_patients:
            found.append(
                f"{self.shared_patients} of {self.patients['test']} test patients are also in "
                "another split"
            )
        return found


@dataclasses.dataclass(frozen=True)
class Summary:
    """A federation.

    Attributes:
      partition_hash: Hash of the examples, their clients, splits and order.
      clients: Counts of every client.
      dropped: Dataset to numbers of (images, examples) that an earlier dataset has too.
      leaks: (dataset of test, dataset of training or validation, number of images in both).
      texts: Report on the questions of every client; none before they are tokenised.
      question_length: Tokens that a question may have.
      without_validation: Clients of which no examples could be held out for validation.
    """

    partition_hash: str
    clients: list[ClientSummary]
    dropped: dict[str, tuple[int, int]]
    leaks: list[tuple[str, str, int]]
    texts: list[TextReport] = dataclasses.field(default_factory=list)
    question_length: int = 0
    without_validation: list[str] = dataclasses.field(default_factory=list)

    def lines(self) -> list[str]:
        """Returns the lines that are printed when a run starts."""
        names = [printable(client.name, LONGEST_NAME) for client in self.clients]
        width = max(map(len, names), default=0)
        lines = [f"partition {self.partition_hash}"]
        for shown, client in zip(names, self.clients, strict=True):
            sizes = ", ".join(
                f"{split} {count} ({client.images[split]} images)"
                for split, count in client.examples.items()
            )
            name, count = next(iter(client.labels.items()))
            lines.append(
                f"  {shown:<{width}}  {client.task}: {sizes}; {client.different_labels} "
                f"labels, commonest {printable(repr(name), LONGEST_NAME)} {count}"
            )
        for dataset, (images, examples) in self.dropped.items():
            lines.append(f"  {dataset}: {images} images ({examples} examples) dropped, ")
            lines[-1] += "which an earlier dataset has too"
        lines += [
            f"  {name}: {doubt}"
            for name, client in zip(names, self.clients, strict=True)
            for doubt in client.doubts()
        ]
        lines += [
            f"  {printable(name, LONGEST_NAME)}: no validation examples, since all training "
            "examples are of one patient or image"
            for name in self.without_validation
        ]
        lines += [line for text in self.texts if (line := text.line(self.question_length))]
        for dataset, origin, images in self.leaks:
            cause = "in its released split" if dataset == origin else f"of {origin}"
            lines.append(f"  {dataset}: {images} test images are also in training {cause}")
        return lines

    def record(self, workdir: pathlib.Path) -> None:
        """Writes partition.json, or raises if the run had another partition before.

        Raises:
          ConfigError: if partition.json is there with another hash.
          DamagedError: if it is damaged.
        """
        path = workdir / PARTITION_FILE
        if path.is_file():
            before = _read_hash(path)
            if before != self.partition_hash:
                raise ConfigError(
                    f"{path} says that this run's data had partition {before}, now it has "
                    f"{self.partition_hash}; use another --workdir or the same data"
                )
            return
        workdir.mkdir(parents=True, exist_ok=True)
        whole_file.write(path, json.dumps(dataclasses.asdict(self), indent=2) + "\n")


def _read_hash(path: pathlib.Path) -> str:
    try:
        return json.loads(path.read_text(encoding="utf-8"))["partition_hash"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(
            f"{path} is damaged ({error}): restore it, or delete it if the data is unchanged"
        ) from error


def training_answers(clients: Mapping[str, Mapping[str, Table]]) -> list[str]:
    """Returns the distinct training answers of some clients, sorted."""
    columns = [splits["train"].columns["answer"] for splits in clients.values()]
    return sorted({answer for column in columns for answer in column.values})


def summarise(
    clients: Mapping[str, Mapping[str, Table]],
    dropped: Mapping[str, tuple[int, int]],
    trained_answers: Iterable[str] | None = None,
    without_validation: Sequence[str] = (),
) -> Summary:
    """Counts a federation.

    Args:
      clients: Client to split to examples.
      dropped: Dataset to (images, examples), from `overlap.drop_duplicates`.
      trained_answers: Training answers of the whole federation; None for those of `clients`.
      without_validation: Clients of which nothing could be held out, from `validation.hold_out`.

    Returns:
      The summary.
    """
    trained = set(training_answers(clients) if trained_answers is None else trained_answers)
    leaks = overlap.count_leaks(
        [table for splits in clients.values() for name, table in splits.items() if name != "test"],
        [splits["test"] for splits in clients.values()],
    )
    return Summary(
        partition_hash=_hash(clients),
        clients=[_summarise(name, splits, trained) for name, splits in clients.items()],
        dropped=dict(dropped),
        leaks=[(*pair, count) for pair, count in sorted(leaks.items())],
        without_validation=list(without_validation),
    )


def _summarise(name: str, splits: Mapping[str, Table], trained_answers: set[str]) -> ClientSummary:
    train, test = splits["train"], splits["test"]
    counts = collections.Counter(label for labels in example_labels(train) for label in labels)
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    unseen = [answer not in trained_answers for answer in test.texts("answer")]
    patients, shared_patients = overlap.count_patients(splits)
    return ClientSummary(
        name=name,
        task=train.texts("task")[0],
        datasets=sorted(train.columns["dataset"].values),
        examples={split: len(table) for split, table in splits.items()},
        images={split: len(np.unique(table.pixel_hash_N)) for split, table in splits.items()},
        labels=dict(ordered[:COMMON_LABELS]),
        different_labels=len(counts),
        question_types=_counts(train, "question_type"),
        answer_types=_counts(train, "answer_type"),
        unseen_answers=float(np.mean(unseen)),
        repeats={split: overlap.count_repeats(table) for split, table in splits.items()},
        patients=patients,
        shared_patients=shared_patients,
    )


def _counts(table: Table, name: str) -> dict[str, int]:
    return dict(collections.Counter(table.texts(name)).most_common())


def _hash(clients: Mapping[str, Mapping[str, Table]]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name, splits in clients.items():
        for split, table in splits.items():
            digest.update(f"{name}\0{split}\0{len(table)}\0".encode())
            digest.update(np.ascontiguousarray(table.pixel_hash_N).tobytes())
            digest.update("\0".join(table.texts("question") + table.texts("answer")).encode())
    return digest.hexdigest()
