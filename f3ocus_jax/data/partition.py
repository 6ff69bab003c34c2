"""Partition of datasets into clients: by dataset, feature, shards or Dirichlet label shift."""

import collections
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from f3ocus_jax.data.settings import DataConfig
from f3ocus_jax.data.table import TEXT_COLUMNS, Table, join_tables
from f3ocus_jax.errors import ConfigError
from tfds_medvqa.common.features import CLASSIFICATION

Splits: TypeAlias = Mapping[str, Table]
Owners: TypeAlias = dict[str, np.ndarray]
"""Maps a split to the client of every example, object [N]."""

MAX_DRAWS = 100
"""Attempts at a Dirichlet partition in which every client has an example in every split."""


def assign(config: DataConfig, datasets: Mapping[str, Splits]) -> dict[str, dict[str, Table]]:
    """Assigns the examples of all datasets to clients.

    Args:
      config: Partition rules and their settings.
      datasets: Dataset to split to examples.

    Returns:
      Client to split to examples, in the order of the datasets and then by name; a client that
      several datasets name gets its examples from all of them.

    Raises:
      ConfigError: for a rule that does not fit the data.
    """
    rules = config.partition * (len(datasets) if len(config.partition) == 1 else 1)
    parts: dict[str, dict[str, list[Table]]] = {}
    for (dataset, splits), rule in zip(datasets.items(), rules, strict=True):
        owners = _rule(rule)(dataset, splits, config)
        for client in sorted({name for owner_N in owners.values() for name in owner_N.tolist()}):
            mine = parts.setdefault(client, {split: [] for split in splits})
            for split, table in splits.items():
                mine.setdefault(split, []).append(table.take(owners[split] == client))
    return {
        client: {split: join_tables(tables) for split, tables in mine.items()}
        for client, mine in parts.items()
    }


def _by_dataset(dataset: str, splits: Splits, config: DataConfig) -> Owners:
    """Assigns all examples to one client."""
    del config
    return {split: np.full(len(table), dataset, object) for split, table in splits.items()}


def _by_feature(feature: str) -> Callable[[str, Splits, DataConfig], Owners]:
    """Makes the rule that assigns examples by the value of a feature."""

    def owners(dataset: str, splits: Splits, config: DataConfig) -> Owners:
        del dataset, config
        column = "client" if feature == "hospital" else feature
        if column not in TEXT_COLUMNS:
            raise ConfigError(
                f"config.data.partition = {feature!r}, must be {', '.join(RULES)} or one of "
                f"{', '.join(sorted(TEXT_COLUMNS))}"
            )
        return {split: np.array(table.texts(column), object) for split, table in splits.items()}

    return owners


def _by_shard(dataset: str, splits: Splits, config: DataConfig) -> Owners:
    """Splits the images into equal random parts; all questions about an image stay together."""
    hashes = np.unique(np.concatenate([table.pixel_hash_N for table in splits.values()]))
    order = np.random.default_rng(config.partition_seed).permutation(len(hashes))
    names = _names(dataset, config.clients_per_dataset, len(hashes))
    shard_M = names[order % len(names)]
    return {
        split: shard_M[np.searchsorted(hashes, table.pixel_hash_N)]
        for split, table in splits.items()
    }


def _by_dirichlet(dataset: str, splits: Splits, config: DataConfig) -> Owners:
    """Splits every label's images in proportions drawn from a Dirichlet distribution.

    An image with several labels counts for the one that is rarest in the dataset. A client's
    proportions are the same in every split, so that its test labels are distributed like its
    training labels. Hsu et al., 2019 (arXiv 1909.06335) do this with one label per image.
    """
    label_of = _rarest_labels(splits)
    names = _names(dataset, config.clients_per_dataset, len(label_of))
    draw = np.random.default_rng(config.partition_seed)
    for _ in range(MAX_DRAWS):
        proportions_CK = {
            label: draw.dirichlet(np.full(len(names), config.dirichlet_alpha))
            for label in sorted(set(label_of.values()))
        }
        owners = _split_by_proportions(splits, label_of, proportions_CK, names, draw)
        if all(len(set(owner_N.tolist())) == len(names) for owner_N in owners.values()):
            return owners
    raise ConfigError(
        f"config.data.dirichlet_alpha = {config.dirichlet_alpha} left one of "
        f"{len(names)} clients of {dataset} without examples in a split {MAX_DRAWS} times; raise "
        "it or lower config.data.clients_per_dataset"
    )


def _split_by_proportions(
    splits: Splits,
    label_of: Mapping[int, str],
    proportions_CK: Mapping[str, np.ndarray],
    names: np.ndarray,
    draw: np.random.Generator,
) -> Owners:
    """Splits every label's images by proportion; an image keeps its client in all splits."""
    owner_of: dict[int, str] = {}
    for table in splits.values():
        images = np.unique(table.pixel_hash_N).tolist()
        for label, proportions_K in proportions_CK.items():
            mine = [each for each in images if label_of[each] == label and each not in owner_of]
            cuts = np.rint(np.cumsum(proportions_K)[:-1] * len(mine)).astype(int)
            parts = np.split(draw.permutation(np.array(mine, np.int64)), cuts)
            for name, part in zip(names, parts, strict=True):
                owner_of |= dict.fromkeys(part.tolist(), name)
    return {
        split: np.array([owner_of[pixels] for pixels in table.pixel_hash_N.tolist()], object)
        for split, table in splits.items()
    }


def _rarest_labels(splits: Splits) -> dict[int, str]:
    """Returns each image's rarest label; the first by name of equally rare ones."""
    labels_of: dict[int, set[str]] = collections.defaultdict(set)
    for table in splits.values():
        for pixels, labels in zip(table.pixel_hash_N.tolist(), example_labels(table), strict=True):
            labels_of[pixels].update(labels)
    counts = collections.Counter(label for labels in labels_of.values() for label in labels)
    return {
        pixels: min(labels, key=lambda label: (counts[label], label))
        for pixels, labels in labels_of.items()
    }


def example_labels(table: Table) -> list[list[str]]:
    """Returns the labels of every example: its findings, or its one answer."""
    return [
        answer.split(", ") if task == CLASSIFICATION else [answer]
        for task, answer in zip(table.texts("task"), table.texts("answer"), strict=True)
    ]


def _names(dataset: str, clients: int, images: int) -> np.ndarray:
    if not 1 <= clients <= images:
        raise ConfigError(
            f"config.data.clients_per_dataset = {clients}, must be at least 1 and at most "
            f"{images}, the images of {dataset}, where config.data.partition is shards or dirichlet"
        )
    return np.array(
        [f"{dataset} {number} of {clients}" for number in range(1, clients + 1)], object
    )


RULES: Mapping[str, Callable[[str, Splits, DataConfig], Owners]] = {
    "dataset": _by_dataset,
    "shards": _by_shard,
    "dirichlet": _by_dirichlet,
}
"""Partition rules; any other name is a feature whose values are the clients."""


def _rule(name: str) -> Callable[[str, Splits, DataConfig], Owners]:
    return RULES.get(name) or _by_feature(name)


def client_tasks(clients: Sequence[Splits]) -> list[str]:
    """Returns every client's task.

    Raises:
      ConfigError: if a client has examples of several tasks.
    """
    found = [
        sorted({value for table in splits.values() for value in table.columns["task"].values})
        for splits in clients
    ]
    for several in found:
        if len(several) > 1:
            raise ConfigError(
                f"a client holds examples of {' and of '.join(several)}; give the datasets other "
                "values of config.data.partition, so that each client has one task"
            )
    return [each[0] for each in found]
