"""Where do the clients of a round run: over devices, on one, on all as one, or in a loop?

Clients come in groups that fit in memory, and what they return is taken up one client at a time, so
that neither the examples nor the updates of all clients are ever held together.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.clients import backends
from f3ocus_jax.clients.backends import KEEP_ALL, Fold

Result = TypeVar("Result")

Gather = Callable[[np.ndarray], Any]
"""Places of n clients -> a pytree of what is their own, leading axis n."""

GROUPS_IN_FLIGHT = 2
"""Groups handed out before the oldest must have ended: one runs while the next is prepared."""


def make_map(
    function: Callable[..., Result],
    *,
    placement: str,
    clients_at_once: int = 1,
    devices: Sequence[jax.Device] | None = None,
) -> Callable[..., Result]:
    """Spreads a function of one client over all clients, in one group.

    Args:
      function: (shared, one) -> a pytree of arrays: what every client gets, and what is its own.
      placement: "pmap" over `devices` with a loop over clients inside, "map" on one device,
        "sharded" for one client after the other with what is shared cut over `devices`, or "loop"
        in Python.
      clients_at_once: clients that one device runs side by side.
      devices: for "pmap" and "sharded"; all local ones unless given.

    Returns:
      (shared, all_K) -> results_K: the same with a leading client axis, as NumPy arrays. It
      compiles once per shape.
    """
    backend = backends.BACKENDS[placement](function, KEEP_ALL, clients_at_once, devices)

    def run(shared: Any, all_K: Any) -> Any:
        count = jnp.shape(jax.tree.leaves(all_K)[0])[0]
        size = _group_size(backend.places, count, count, clients_at_once)
        return _run(backend, size, shared, count, lambda places: all_K)[1]

    return run


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
    """Spreads a function of one client over any number of clients, group by group.

    Args:
      function: as `make_map` takes it.
      fold: how its results are taken up.
      most: the largest number of clients of a call, which the groups are laid out for.
      placement: as `make_map` takes it.
      clients_at_once: clients that one device runs side by side.
      clients_in_memory: clients of one device whose own arrays are held together; 0 for all.
      devices: for "pmap" and "sharded"; all local ones unless given.

    Returns:
      (shared, count, take) -> (total, kept_K): the fold over all clients, on the first device or
      cut as what is shared is, and what was kept of each, as NumPy arrays with leading axis `count`
      (None of no client). It compiles once, whatever the count. With several hosts each brings its
      own clients, and the total is that of all hosts.
    """
    backend = backends.BACKENDS[placement](function, fold, clients_at_once, devices)
    size = _group_size(backend.places, most, clients_in_memory or most, clients_at_once)
    return lambda shared, count, take: _run(backend, size, shared, count, take)


def replicate(tree: Any, placement: str) -> Any:
    """Puts what every client gets where clients run, so that no call has to move it there again."""
    if placement == "pmap":
        return jax.device_put(tree, backends.replicated_sharding(jax.local_devices()))
    if placement == "sharded":
        return backends.shard(tree, jax.local_devices())
    return jax.device_put(tree)


def shard_state(tree: Any, placement: str) -> Any:
    """Cuts what the server keeps as the clients' totals are; uncut, JAX brings them together."""
    return backends.shard(tree, jax.local_devices()) if placement == "sharded" else tree


def _group_size(devices: int, most: int, in_memory: int, at_once: int) -> int:
    """Returns the clients of one group; even groups waste the fewest places in the last one."""
    groups = max(1, -(-most // (devices * in_memory)))
    per_device = max(1, -(-most // (devices * groups)))
    return devices * at_once * -(-per_device // at_once)


def _run(
    backend: backends.Backend, size: int, shared: Any, count: int, take: Gather
) -> tuple[Any, Any]:
    shared = backend.share(shared)
    total, kept = backend.start(shared), []
    for first in range(0, count, size):
        places = np.arange(first, min(first + size, count))
        real = np.arange(size) < len(places)
        some = jax.tree.map(lambda leaf: pad_leading_axis(leaf, size), take(places))
        total, here = backend.add(total, shared, some, real)
        kept.append(here)
        if len(kept) > GROUPS_IN_FLIGHT:
            kept[-1 - GROUPS_IN_FLIGHT] = jax.device_get(kept[-1 - GROUPS_IN_FLIGHT])
    total = backend.end(total)
    if not kept:
        return total, None

    def joined(*leaves: np.ndarray) -> np.ndarray:
        return np.concatenate([backend.flat(leaf) for leaf in leaves])[:count]

    return total, jax.tree.map(joined, *jax.device_get(kept))


def pad_leading_axis(leaf: Any, size: int) -> np.ndarray:
    """Lengthens an array's leading axis to `size` with zeros, for places that are not used."""
    leaf = np.asarray(leaf)
    if len(leaf) == size:
        return leaf
    return np.concatenate([leaf, np.zeros((size - len(leaf), *leaf.shape[1:]), leaf.dtype)])
