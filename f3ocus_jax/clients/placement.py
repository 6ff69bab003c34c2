"""A function of one client mapped over many clients, in groups that fit in memory.

The results are folded one client at a time, so that neither the examples nor the updates of all
clients are ever held together. `backends` has the placements on devices.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.clients import backends
from f3ocus_jax.clients.backends import KEEP_ALL, Fold
from f3ocus_jax.config.kept import kept

Result = TypeVar("Result")

Gather = Callable[[np.ndarray], Any]
"""Indices of n clients -> pytree of their own inputs, leading axis n."""

GROUPS_IN_FLIGHT = 2
"""Groups dispatched before the oldest must have finished: one runs while the next is prepared."""


@kept
def make_map(
    function: Callable[..., Result],
    *,
    placement: str,
    clients_at_once: int = 1,
    devices: Sequence[jax.Device] | None = None,
) -> Callable[..., Result]:
    """Maps a function of one client over all clients, in one group.

    Args:
      function: (shared, one) -> pytree of arrays; `shared` is the input that every client receives,
        `one` is the client's own input.
      placement: Placement: "pmap" over `devices` with a loop over clients inside, "map" on one
        device, "sharded" for one client after the other with `shared` sharded over `devices`, or
        "loop" in Python.
      clients_at_once: Number of clients that one device runs at once.
      devices: Devices of "pmap" and "sharded"; all local ones if None.

    Returns:
      (shared, all_K) -> results_K: the same with a leading client axis, as NumPy arrays. It
      compiles once per shape.
    """
    backend = backends.BACKENDS[placement](function, KEEP_ALL, clients_at_once, devices)

    def run(shared: Any, all_K: Any) -> Any:
        count = jnp.shape(jax.tree.leaves(all_K)[0])[0]
        size = _group_size(backend.num_devices, count, count, clients_at_once)
        return _run(backend, size, shared, count, lambda indices: all_K)[1]

    return run


@kept
def stream(
    function: Callable[[Any, Any], Any],
    fold: Fold,
    *,
    most: int,
    placement: str,
    clients_at_once: int = 1,
    clients_in_memory: int = 0,
    devices: Sequence[jax.Device] | None = None,
) -> Callable[[Any, int, Gather], tuple[Any, Any]]:
    """Maps a function of one client over any number of clients, group by group.

    Args:
      function: See `make_map`.
      fold: Fold over the results.
      most: Largest number of clients in a call, which determines the size of groups.
      placement: See `make_map`.
      clients_at_once: Number of clients that one device runs at once.
      clients_in_memory: Number of clients per device whose inputs are held together; 0 for all.
      devices: Devices of "pmap" and "sharded"; all local ones if None.

    Returns:
      (shared, count, gather) -> (total, outputs_K): the total over all clients, on the first device
      or sharded like `shared`, and the output of each client, as NumPy arrays with leading axis
      `count` (None for no client). It compiles once, whatever the count. With several hosts, each
      maps its own clients, and the total is that of all hosts.
    """
    backend = backends.BACKENDS[placement](function, fold, clients_at_once, devices)
    size = _group_size(backend.num_devices, most, clients_in_memory or most, clients_at_once)
    return lambda shared, count, gather: _run(backend, size, shared, count, gather)


def replicate(tree: Any, placement: str) -> Any:
    """Moves the input of all clients to where they run, so that no call has to move it again."""
    if placement == "pmap":
        return jax.device_put(tree, backends.replicated_sharding(jax.local_devices()))
    if placement == "sharded":
        return backends.shard(tree, jax.local_devices())
    return jax.device_put(tree)


def shard_state(tree: Any, placement: str) -> Any:
    """Shards the server's arrays like the clients' totals, which JAX would gather otherwise."""
    return backends.shard(tree, jax.local_devices()) if placement == "sharded" else tree


def _group_size(devices: int, most: int, in_memory: int, at_once: int) -> int:
    """Returns the number of clients in a group; even groups leave the fewest slots unused."""
    groups = max(1, -(-most // (devices * in_memory)))
    per_device = max(1, -(-most // (devices * groups)))
    return devices * at_once * -(-per_device // at_once)


def _run(
    backend: backends.Backend, size: int, shared: Any, count: int, gather: Gather
) -> tuple[Any, Any]:
    shared = backend.share(shared)
    total, outputs = backend.start(shared), []
    for first in range(0, count, size):
        indices = np.arange(first, min(first + size, count))
        real = np.arange(size) < len(indices)
        some = jax.tree.map(lambda leaf: pad_leading_axis(leaf, size), gather(indices))
        total, output = backend.add(total, shared, some, real)
        outputs.append(output)
        if len(outputs) > GROUPS_IN_FLIGHT:
            outputs[-1 - GROUPS_IN_FLIGHT] = jax.device_get(outputs[-1 - GROUPS_IN_FLIGHT])
    total = backend.end(total)
    if not outputs:
        return total, None

    def joined(*leaves: np.ndarray) -> np.ndarray:
        return np.concatenate([backend.flat(leaf) for leaf in leaves])[:count]

    return total, jax.tree.map(joined, *jax.device_get(outputs))


def pad_leading_axis(leaf: Any, size: int) -> np.ndarray:
    """Pads an array's leading axis to `size` with zeros."""
    leaf = np.asarray(leaf)
    if len(leaf) == size:
        return leaf
    return np.concatenate([leaf, np.zeros((size - len(leaf), *leaf.shape[1:]), leaf.dtype)])
