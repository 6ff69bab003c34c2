"""Placements of a group of clients on devices: loop, map, sharded, pmap; and the fold over them."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

MESH_AXIS = "parts"


@dataclasses.dataclass(frozen=True)
class Fold:
    """Fold over the clients' results, one client after the other.

    Attributes:
      start: shared -> total of no client, all zeros, since the totals of all devices are summed.
      add: (total, shared, one, result) -> (total, output of this client).
    """

    start: Callable[[Any], Any]
    add: Callable[[Any, Any, Any, Any], tuple[Any, Any]]


KEEP_ALL = Fold(lambda shared: (), lambda total, shared, one, result: (total, result))
"""Adds nothing up and returns every result."""


class Backend:
    """Runs a function of one client over a group of clients, and folds its results.

    Attributes:
      num_devices: Number of devices that clients are distributed over.
      start: shared -> total of no client.
      add: (total, shared, some, real) -> (total, outputs): `some` is a group with a leading axis,
        `real` is True in the slots that hold a client.
    """

    num_devices = 1
    start: Callable[[Any], Any]
    add: Callable[[Any, Any, Any, np.ndarray], tuple[Any, Any]]

    def share(self, shared: Any) -> Any:
        """Moves the shared input to the devices where the clients run."""
        return shared

    def end(self, total: Any) -> Any:
        """Returns the total over all devices and hosts."""
        return total

    def flat(self, leaf: np.ndarray) -> np.ndarray:
        """Returns an output with one leading axis of clients."""
        return leaf


class _Loop(Backend):
    """One client at a time from Python, on the first device."""

    def __init__(self, function: Callable, fold: Fold, at_once: int, devices: Any) -> None:
        del at_once, devices

        def step(total: Any, shared: Any, one: Any) -> tuple[Any, Any]:
            return fold.add(total, shared, one, function(shared, one))

        self._step = jax.jit(step, donate_argnums=0)
        self.start = jax.jit(fold.start)

    def add(self, total: Any, shared: Any, some: Any, real: np.ndarray) -> tuple[Any, Any]:
        outputs = []
        for slot in np.flatnonzero(real):
            one = jax.tree.map(lambda leaf, slot=slot: leaf[slot], some)
            total, output = self._step(total, shared, one)
            outputs.append(output)
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *jax.device_get(outputs))
        return total, stacked


class _Map(Backend):
    """A loop over clients inside one program, on the first device."""

    def __init__(self, function: Callable, fold: Fold, at_once: int, devices: Any) -> None:
        del devices
        self.add = jax.jit(_on_device(function, fold, at_once), donate_argnums=0)
        self.start = jax.jit(fold.start)


class _Sharded(Backend):
    """A loop over clients inside one program that all devices share."""

    def __init__(self, function: Callable, fold: Fold, at_once: int, devices: Any) -> None:
        self._mesh = Mesh(np.asarray(devices or jax.local_devices()), (MESH_AXIS,))
        run = _on_device(function, fold, at_once)

        # XLA's partitioner gathers a layer where it is used, and shards products where it can.
        def sharded_run(total: Any, shared: Any, some: Any, real: jax.Array) -> tuple[Any, Any]:
            total, outputs = run(total, shared, some, real)
            return self._constrain(total), outputs

        self._add = jax.jit(sharded_run, donate_argnums=0)
        self.start = jax.jit(lambda shared: self._constrain(fold.start(shared)))

    def _constrain(self, total: Any) -> Any:
        return jax.lax.with_sharding_constraint(total, shardings(total, self._mesh))

    def share(self, shared: Any) -> Any:
        return shard(shared, list(self._mesh.devices))

    def add(self, total: Any, shared: Any, some: Any, real: np.ndarray) -> tuple[Any, Any]:
        replicated = NamedSharding(self._mesh, PartitionSpec())
        return self._add(total, shared, *jax.device_put((some, real), replicated))


class _Pmap(Backend):
    """The same program on every device, each with its part of the group."""

    def __init__(self, function: Callable, fold: Fold, at_once: int, devices: Any) -> None:
        self._devices, self._fold = list(devices or jax.local_devices()), fold
        self.num_devices = len(self._devices)
        pmap = functools.partial(jax.pmap, axis_name="device", devices=self._devices)
        run = _on_device(function, fold, at_once)
        self._add = pmap(run, in_axes=(0, None, 0, 0), donate_argnums=0)
        self._start = pmap(lambda shared, device: fold.start(shared), in_axes=(None, 0))
        all_devices = self._devices if jax.process_count() == 1 else jax.devices()
        self._end = pmap(lambda total: jax.lax.psum(total, "device"), devices=all_devices)

    def share(self, shared: Any) -> Any:
        return jax.device_put(shared, replicated_sharding(self._devices))

    def start(self, shared: Any) -> Any:
        empty = jax.eval_shape(self._fold.start, shared)
        # pmap over several hosts takes no function without results.
        return self._start(shared, np.arange(self.num_devices)) if jax.tree.leaves(empty) else empty

    def add(self, total: Any, shared: Any, some: Any, real: np.ndarray) -> tuple[Any, Any]:
        def deal(leaf: Any) -> Any:
            return leaf.reshape(self.num_devices, -1, *leaf.shape[1:])

        return self._add(total, shared, jax.tree.map(deal, some), deal(real))

    def end(self, total: Any) -> Any:
        if not jax.tree.leaves(total):
            return total
        return _first(jax.tree.map(lambda leaf: leaf.addressable_shards[0].data, self._end(total)))

    def flat(self, leaf: np.ndarray) -> np.ndarray:
        return leaf.reshape(-1, *leaf.shape[2:])


def _on_device(function: Callable, fold: Fold, at_once: int) -> Callable:
    """Makes the loop over one device's clients: (total, shared, some, real) -> (total, outputs)."""

    def run(total: Any, shared: Any, some: Any, real: jax.Array) -> tuple[Any, Any]:
        def work(total: Any, one: Any) -> tuple[Any, Any]:
            return fold.add(total, shared, one, function(shared, one))

        def add_result(total: Any, one_and_result: tuple[Any, Any]) -> tuple[Any, Any]:
            return fold.add(total, shared, *one_and_result)

        def several(total: Any, ones: Any) -> tuple[Any, Any]:
            some, real = ones
            results = jax.vmap(function, in_axes=(None, 0))(shared, some)
            return jax.lax.scan(_only_real(add_result), total, ((some, results), real))

        if at_once == 1:  # a batch of one would still turn `cond` into `select`
            return jax.lax.scan(_only_real(work), total, (some, real))
        chunks = jax.tree.map(lambda leaf: leaf.reshape(-1, at_once, *leaf.shape[1:]), (some, real))
        total, outputs = jax.lax.scan(several, total, chunks)
        return total, jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), outputs)

    return run


def _only_real(step: Callable[[Any, Any], tuple[Any, Any]]) -> Callable:
    """Skips slots that hold no client."""

    def guarded(total: Any, one_and_real: tuple[Any, jax.Array]) -> tuple[Any, Any]:
        one, real = one_and_real
        empty = jax.eval_shape(step, total, one)[1]

        def skip(total: Any) -> tuple[Any, Any]:
            return total, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), empty)

        return jax.lax.cond(real, lambda total: step(total, one), skip, total)

    return guarded


@jax.jit
def _first(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], tree)


def replicated_sharding(devices: Sequence[jax.Device]) -> NamedSharding:
    """Returns the sharding of arrays that each of these devices holds whole."""
    return NamedSharding(Mesh(np.array(devices), ("device",)), PartitionSpec())


def shard(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """Shards arrays over devices; see `shardings`."""
    return jax.device_put(tree, shardings(tree, Mesh(np.asarray(devices), (MESH_AXIS,))))


def shardings(shared: Any, mesh: Mesh) -> Any:
    """Chooses the sharding of arrays over devices.

    Args:
      shared: Pytree of arrays, or of their shapes.
      mesh: Mesh with one axis.

    Returns:
      The same pytree of shardings: the last axis divisible by the number of devices is sharded. The
      leading axis of layers is the last resort, because one device would then hold the layer that
      all need. Vectors, and arrays without such an axis, are replicated.
    """

    def sharding(leaf: Any) -> NamedSharding:
        axes: list[str | None] = [None] * np.ndim(leaf)
        divisible = [axis for axis, size in enumerate(np.shape(leaf)) if size % mesh.size == 0]
        if len(axes) > 1 and divisible:
            axes[divisible[-1]] = MESH_AXIS
        return NamedSharding(mesh, PartitionSpec(*axes))

    return jax.tree.map(sharding, shared)


BACKENDS: Mapping[str, Callable[[Callable, Fold, int, Any], Backend]] = {
    "pmap": _Pmap,
    "map": _Map,
    "sharded": _Sharded,
    "loop": _Loop,
}
"""Placements by name: (function, fold, clients at once, devices) -> `Backend`."""
