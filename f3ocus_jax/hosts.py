"""One federation on several hosts: each trains its own clients, and they exchange results.

Every host runs the same program on the same config. Client k belongs to host k modulo the number of
hosts, or to the host whose own data it is, and only that host holds its examples. Scores, sums of
updates and test results are exchanged over the network, and every host computes the server's steps
for itself, with equal results. A signal that asks one of them to end is told in the next exchange,
and all of them end.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from flax import serialization
from jax.experimental import multihost_utils

from f3ocus_jax import interrupts
from f3ocus_jax.config import Section, setting
from f3ocus_jax.errors import HostError

PROBLEM = "problem"
"""Key of the message of a host that stops: the kind of its error."""

SIGNAL = "signal"
"""Key of the number of a signal that asks a host to end; 0 or absent without one."""

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
    hosts: int = setting(1, "Number of hosts, with an address.", at_least=1, at_most=65_536)
    host: int = setting(
        0, "Index of this host, from 0, with an address; differs from host to host."
    )
    own_data: bool = setting(
        False,
        "Each host names datasets of its own, which no other host can or need read: their clients "
        "are its clients (docs/your_data.md).",
    )

    def __post_init__(self) -> None:
        """Checks conditions on several settings."""
        super().__post_init__()
        address = self.coordinator
        known = address in ("", FROM_ENVIRONMENT) or _has_port(address)
        allowed = '"", "auto", or an address with a port of 1 to 65535, as in "10.0.0.1:8476"'
        self.require(known, "coordinator", allowed)
        alone = address != "" or self.hosts == 1
        self.require(alone, "hosts", "1 without a config.distributed.coordinator")
        allowed = f"between 0 and {self.hosts - 1}, below config.distributed.hosts"
        self.require(0 <= self.host < self.hosts, "host", allowed)


def _has_port(address: str) -> bool:
    host, _, port = address.rpartition(":")
    is_number = port.isascii() and port.isdigit()
    return bool(host) and is_number and 1 <= int(port) <= 65535


def start(settings: DistributedConfig) -> None:
    """Joins the other hosts; must be called before JAX initialises its devices.

    JAX ends the process if a host does not come within five minutes.

    Args:
      settings: The settings `config.distributed`.
    """
    if settings.coordinator == "":
        return
    given = (settings.coordinator, settings.hosts, settings.host)
    # It would take SIGTERM away, which a host tells the others itself.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(*(() if settings.coordinator == FROM_ENVIRONMENT else given))
    if jax.process_count() > 1:
        interrupts.keep_for_all()
    _meet()


def _meet() -> None:
    """Connects all devices while the hosts are at the same point.

    JAX's connections between CPUs must come about within 30 seconds of each other; once they are
    there, a host waits for another as long as that takes.
    """
    add = jax.pmap(lambda one: jax.lax.psum(one, "device"), axis_name="device")
    jax.block_until_ready(add(np.ones(jax.local_device_count(), np.float32)))
    all_gather(None)


class AgreedInterrupt(interrupts.Interrupted):
    """A signal to one host that all of them know of and raise at the same point."""


def is_first() -> bool:
    """Returns True on the host that writes the files of the run."""
    return jax.process_index() == 0


def dealt_mask(count: int) -> np.ndarray:
    """Returns local_K, bool [count]: True for clients of this host where all can read all data."""
    return np.arange(count) % jax.process_count() == jax.process_index()


def all_gather(value: Any) -> list[Any]:
    """Returns the values of all hosts, on every host; all hosts must call it at the same point.

    Args:
      value: Dicts and lists of NumPy arrays, numbers, text and None; of any size on each host.

    Returns:
      The values of all hosts, in their order.

    Raises:
      HostError: If another host has stopped, see `ending_together`, or does not answer.
      Interrupted: If a signal has asked any host to end.
    """
    with interrupts.postponed():  # what comes from here on is told in the next exchange
        parts = _exchange({"value": value, SIGNAL: interrupts.kept()})
        if signal := max(part.get(SIGNAL, 0) for part in parts):
            raise AgreedInterrupt(signal)
    for host, part in enumerate(parts):
        if PROBLEM in part:
            raise HostError(
                f"host {host} of {len(parts)} stopped ({part[PROBLEM]}); it printed why, and the "
                "others stop with it"
            )
    return [part["value"] for part in parts]


@contextlib.contextmanager
def ending_together() -> Iterator[None]:
    """Lets an error on one host end all of them, which would wait for it forever otherwise.

    In the block hosts meet in `all_gather` alone. The others are told the kind of the error and not
    its message, which may quote the data of the host. A signal ends the block at once.

    Raises:
      HostError: If another host does not come to the end of the block.
      Interrupted: If a signal has asked any host to end.
    """
    try:
        with interrupts.raised_here():
            yield
        all_gather(None)
    except (HostError, AgreedInterrupt):
        raise
    except BaseException as error:
        told: dict[str, Any] = {PROBLEM: type(error).__name__}
        if isinstance(error, interrupts.Interrupted):
            told = {SIGNAL: int(error.signal)}
        with contextlib.suppress(HostError), interrupts.postponed():  # a host may have stopped, too
            _exchange(told)
        raise


def _exchange(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the messages of all hosts."""
    if jax.process_count() == 1:
        return [message]
    sent = np.frombuffer(serialization.msgpack_serialize(jax.device_get(message)), np.uint8)
    try:
        sizes = multihost_utils.process_allgather(np.array([len(sent)], np.int32)).reshape(-1)
        padded = np.zeros(int(sizes.max()), np.uint8)
        padded[: len(sent)] = sent
        everyone = np.asarray(multihost_utils.process_allgather(padded))
    except jax.errors.JaxRuntimeError as error:
        raise HostError(f"another host does not answer any more: {_first_line(error)}") from error
    return [
        serialization.msgpack_restore(row[:size].tobytes())
        for row, size in zip(everyone.reshape(len(sizes), -1), sizes, strict=True)
    ]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def gather_clients(indices: np.ndarray, values: Any) -> tuple[np.ndarray, Any]:
    """Joins the arrays that the hosts hold for their clients.

    Args:
      indices: Indices of this host's clients, ascending.
      values: Pytree of arrays with a leading axis of these clients; None for no client.

    Returns:
      (indices of all hosts' clients, ascending; their arrays in that order, as nested dicts, or
      None for no client).
    """
    own = {"indices": indices, "values": serialization.to_state_dict(values)}
    held = [part for part in all_gather(own) if len(part["indices"])]
    if not held:
        return indices, None
    all_indices = np.concatenate([part["indices"] for part in held])
    order = np.argsort(all_indices)

    def joined(*leaves: np.ndarray) -> np.ndarray:
        return np.concatenate(leaves)[order]

    return all_indices[order], jax.tree.map(joined, *[part["values"] for part in held])
