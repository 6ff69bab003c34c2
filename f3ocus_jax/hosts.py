"""How do several hosts run one federation? Each trains its own clients, and they exchange results.

Every host runs the same program on the same config. Client k belongs to host k modulo the number of
hosts, and only that host holds its examples. Scores, updates' sums and test results cross the
network, and every host takes the server's steps for itself, with equal results.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from flax import serialization
from jax.experimental import multihost_utils

from f3ocus_jax.config import Section, setting

Client = TypeVar("Client")

FROM_ENVIRONMENT = "auto"
"""Value of config.distributed.coordinator for hosts that find each other, as those of a TPU VM."""


@dataclasses.dataclass(frozen=True)
class DistributedConfig(Section):
    """Several hosts that run one federation: `config.distributed`."""

    coordinator: str = setting(
        "",
        '"" for one host; "auto" where the hosts find each other, as those of a TPU VM or of a '
        "Slurm job do; or address and port of the first host.",
    )
    hosts: int = setting(1, "Number of hosts, with an address.", at_least=1)
    host: int = setting(
        0, "Index of this host, from 0, with an address; differs from host to host."
    )

    def __post_init__(self) -> None:
        """Checks conditions on several settings."""
        super().__post_init__()
        address = self.coordinator
        known = address in ("", FROM_ENVIRONMENT) or ":" in address
        self.require(known, "coordinator", '"", "auto" or an address with a port')
        allowed = f"between 0 and {self.hosts - 1}, below config.distributed.hosts"
        self.require(0 <= self.host < self.hosts, "host", allowed)


def start(settings: DistributedConfig) -> None:
    """Joins the other hosts; must come before anything else asks JAX for its devices.

    Args:
      settings: of `config.distributed`.
    """
    if settings.coordinator == FROM_ENVIRONMENT:
        jax.distributed.initialize()
    elif settings.coordinator:
        jax.distributed.initialize(settings.coordinator, settings.hosts, settings.host)


def is_first() -> bool:
    """Returns whether this is the host that writes what the run leaves behind."""
    return jax.process_index() == 0


def local_clients_mask(count: int) -> np.ndarray:
    """Returns which of `count` clients belong to this host: bool [K]."""
    return np.arange(count) % jax.process_count() == jax.process_index()


def local_clients(clients: Sequence[Client]) -> list[Client]:
    """Returns the clients that belong to this host."""
    return [
        client
        for client, here in zip(clients, local_clients_mask(len(clients)), strict=True)
        if here
    ]


def all_gather(value: Any) -> list[Any]:
    """Gives every host what each of them holds.

    Args:
      value: dicts and lists of NumPy arrays, numbers, text and None; of any size on each host.

    Returns:
      The values of all hosts, in their order; every host must call this at the same point.
    """
    if jax.process_count() == 1:
        return [value]
    message = np.frombuffer(serialization.msgpack_serialize(jax.device_get(value)), np.uint8)
    sizes = multihost_utils.process_allgather(np.array([len(message)], np.int32)).reshape(-1)
    padded = np.zeros(int(sizes.max()), np.uint8)
    padded[: len(message)] = message
    everyone = np.asarray(multihost_utils.process_allgather(padded))
    return [
        serialization.msgpack_restore(row[:size].tobytes())
        for row, size in zip(everyone.reshape(len(sizes), -1), sizes, strict=True)
    ]


def gather_clients(places: np.ndarray, values: Any) -> tuple[np.ndarray, Any]:
    """Puts together what the hosts hold of their clients.

    Args:
      places: of this host's clients, ascending.
      values: pytree of arrays of these clients, leading axis as long as `places`; None for none.

    Returns:
      (places of all hosts' clients, ascending; their arrays in that order, as nested dicts, or
      None of no client).
    """
    own = {"places": places, "values": serialization.to_state_dict(values)}
    held = [part for part in all_gather(own) if len(part["places"])]
    if not held:
        return places, None
    everywhere = np.concatenate([part["places"] for part in held])
    order = np.argsort(everywhere)

    def joined(*leaves: np.ndarray) -> np.ndarray:
        return np.concatenate(leaves)[order]

    return everywhere[order], jax.tree.map(joined, *[part["values"] for part in held])
