"""Agreement of the hosts of one federation, compared before round 1.

Hosts that differ would go on for a while and then wait for each other, or train another federation
than the one that was meant.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from etils import epath

from f3ocus_jax import hosts
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import checkpoint, sealed_steps
from f3ocus_jax.federation.assembly import Parts
from f3ocus_jax.federation.settings import ExperimentConfig
from tfds_medvqa.common.printable import printable

OF_A_HOST = (
    "checkpoint.directory",
    "data.data_dir",
    "data.manual_dir",
    "distributed.coordinator",
    "distributed.host",
    "secure_aggregation.identity",
)
"""Settings of which every host has its own: its index, and where it finds things."""

MOST = 5
"""Differences that are named; more are counted."""

LONGEST = 60
"""Characters of a value in the message."""


def check_settings(config: ExperimentConfig) -> None:
    """Compares settings and versions of packages, before any data is read.

    Raises:
      ConfigError: On all hosts, if they differ.
    """
    versions = {f"version of {name}": value for name, value in checkpoint.versions().items()}
    platform = {"kind of devices": jax.devices()[0].platform}
    compare(_of_all_hosts({**setting_facts(config), **versions, **platform}))


def check_parts(parts: Parts, folder: epath.Path) -> None:
    """Compares what the hosts have read: data, vocabulary, weights, checkpoints.

    Args:
      parts: Parts of the run.
      folder: Folder of the checkpoints, as this host sees it.

    Raises:
      ConfigError: On all hosts, if they differ.
    """
    rounds = {"rounds in the folder of checkpoints": sealed_steps.steps(folder)}
    compare(_of_all_hosts({**part_facts(parts), **rounds}))


def check_checkpoints(is_seen: bool) -> None:
    """Compares the places of the checkpoints: every host reads them, and the first writes them.

    Args:
      is_seen: True if this host sees the folder of the first host.

    Raises:
      ConfigError: On all hosts, if one does not.
    """
    for host, sees in enumerate(hosts.all_gather(is_seen)):
        if not sees:
            raise ConfigError(
                f"host {host} does not see the folder in which host 0 keeps the checkpoints: let "
                "config.checkpoint.directory be a folder that all hosts see"
            )


def setting_facts(config: ExperimentConfig) -> dict[str, Any]:
    """Returns the settings that hosts share, by the names that a message gives them."""
    settings = checkpoint.shared_settings(config)
    return {f"config.{name}": settings[name] for name in settings if name not in OF_A_HOST}


def part_facts(parts: Parts) -> dict[str, Any]:
    """Returns hashes of what a host has read, by the names that a message gives them."""
    tokenizer, clients = parts.foundation.tokenizer, parts.federation.clients
    special = f"{tokenizer.special_tokens}{tokenizer.prompt}"
    return {
        "hash of the partition": parts.federation.summary.partition_hash,
        **{f"hash of the {name}": parts.settings[name] for name in checkpoint.NAMES},
        "hash of the numbers of examples": _hash(
            json.dumps([[len(client.train), len(client.test or ())] for client in clients])
        ),
        "hash of the tokenizer": _hash(tokenizer.pieces.to_str() + special),
        "hash of the weights": parts.settings["weights fingerprint"],
    }


def compare(facts: Sequence[Mapping[str, Any]]) -> None:
    """Compares what the hosts say of themselves.

    Args:
      facts: Name to value for each host, values as JSON has them.

    Raises:
      ConfigError: If they differ; names the values and their hosts.
    """
    found = differences(facts)
    if found:
        more = f"; and {len(found) - MOST} more" if len(found) > MOST else ""
        raise ConfigError(f"the hosts differ: {'; '.join(found[:MOST])}{more}")


def differences(facts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Describes every name whose value is not the same on all hosts.

    Args:
      facts: Name to value for each host, values as JSON has them.

    Returns:
      One text per name, as in "config.seed = 0 on host 0, 1 on host 1", in the order of the names.
    """
    names = dict.fromkeys(name for each in facts for name in each)
    described = []
    for name in names:
        hosts_of: dict[str, list[str]] = {}
        for host, each in enumerate(facts):
            value = json.dumps(each[name], sort_keys=True) if name in each else "nothing"
            hosts_of.setdefault(value, []).append(str(host))
        if len(hosts_of) > 1:
            values = (
                f"{printable(value, LONGEST)} on host{'s' * (len(which) > 1)} {', '.join(which)}"
                for value, which in hosts_of.items()
            )
            described.append(f"{name} = {' and '.join(values)}")
    return described


def _of_all_hosts(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(text) for text in hosts.all_gather(json.dumps(facts))]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
