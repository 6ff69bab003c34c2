"""Facts that hosts exchange about their clients where each host alone can read its own data.

Names, sizes, counts, training answers and hashes of pixels leave a host. Images, questions and test
answers do not. All hosts call these functions at the same point.
"""

import collections
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import jax
import numpy as np

from f3ocus_jax.data.examples import ClientData, Examples, RemoteExamples
from f3ocus_jax.data.summary import ClientSummary, Summary
from f3ocus_jax.data.table import Table
from f3ocus_jax.data.text_report import TextReport
from f3ocus_jax.errors import ConfigError
from tfds_medvqa.common.printable import printable

Gather: TypeAlias = Callable[[Any], list[Any]]
"""Value of this host -> values of all hosts, in their order: `hosts.all_gather`, or `alone`."""

HASH_BYTES = 8


def alone(value: Any) -> list[Any]:
    """Returns a list of one value: the exchange of a host that can read the data of all clients."""
    return [value]


def join_lists(gather: Gather, values: Iterable[str]) -> list[str]:
    """Returns the texts of all hosts, one host's after the other's."""
    return [value for part in _gather_json(gather, list(values)) for value in part]


def join_counts(gather: Gather, counts: Mapping[str, int]) -> collections.Counter[str]:
    """Returns the sums of the hosts' counts."""
    total: collections.Counter[str] = collections.Counter()
    for part in _gather_json(gather, dict(counts)):
        total.update(part)
    return total


def join_reports(gather: Gather, reports: Sequence[TextReport]) -> list[TextReport]:
    """Returns the reports on the questions of all clients."""
    own = [dataclasses.asdict(report) for report in reports]
    return [TextReport(**each) for part in _gather_json(gather, own) for each in part]


def earlier_hashes(gather: Gather, datasets: Mapping[str, Mapping[str, Table]]) -> np.ndarray:
    """Returns the hashes of the pixels of all images of the hosts before this one: int64 [M]."""
    tables = [table for splits in datasets.values() for table in splits.values()]
    own = np.unique(np.concatenate([table.pixel_hash_N for table in tables]))
    parts = gather(own)
    earlier = parts[: jax.process_index()] if len(parts) > 1 else []
    return np.concatenate([np.zeros(0, np.int64), *earlier])


def check_names(gather: Gather, names: Iterable[str]) -> None:
    """Raises ConfigError if two hosts have a client of the same name."""
    owner: dict[str, int] = {}
    for host, part in enumerate(_gather_json(gather, list(names))):
        for name in part:
            if name in owner:
                raise ConfigError(
                    f"hosts {owner[name]} and {host} both have a client {printable(name)!r}: give "
                    "hospitals names of their own, in the column hospital or as the name of the "
                    "folder"
                )
            owner[name] = host


def join_clients(gather: Gather, clients: Sequence[ClientData]) -> list[ClientData]:
    """Adds the clients of the other hosts, of whose splits only the sizes are known.

    Raises:
      ConfigError: If a host has no client.
    """
    own = [[client.name, client.task, _sizes(client)] for client in clients]
    parts = _gather_json(gather, own)
    if len(parts) == 1:
        return list(clients)
    joined: list[ClientData] = []
    for host, part in enumerate(parts):
        if not part:
            raise ConfigError(f"host {host} has no client left; start without it")
        if host == jax.process_index():
            joined += clients
            continue
        for name, task, sizes in part:
            splits = {split: RemoteExamples(size, task) for split, size in sizes.items()}
            joined.append(ClientData(name, **cast(dict[str, Examples], splits)))
    return joined


def join_summaries(gather: Gather, summary: Summary) -> Summary:
    """Joins the counts of all hosts; the hash of the partition is that of the hosts' hashes."""
    parts = _gather_json(gather, dataclasses.asdict(summary))
    if len(parts) == 1:
        return summary
    hashes = "".join(part["partition_hash"] for part in parts)
    dropped: dict[str, tuple[int, int]] = {}
    leaks: collections.Counter[tuple[str, str]] = collections.Counter()
    for part in parts:
        for name, (images, examples) in part["dropped"].items():
            before = dropped.get(name, (0, 0))
            dropped[name] = (before[0] + images, before[1] + examples)
        for tested, trained, images in part["leaks"]:
            leaks[tested, trained] += images
    return Summary(
        partition_hash=hashlib.blake2b(hashes.encode(), digest_size=HASH_BYTES).hexdigest(),
        clients=[ClientSummary(**each) for part in parts for each in part["clients"]],
        dropped=dropped,
        leaks=[(*pair, count) for pair, count in sorted(leaks.items())],
        without_validation=[name for part in parts for name in part["without_validation"]],
    )


def _sizes(client: ClientData) -> dict[str, int]:
    splits = {"train": client.train, "test": client.test, "validation": client.validation}
    return {name: len(split) for name, split in splits.items() if split is not None}


def _gather_json(gather: Gather, value: Any) -> list[Any]:
    return [json.loads(text) for text in gather(json.dumps(value))]
