"""How does a group of clients run on devices, and how is what they return added up there?"""

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
    """How what the clients return is taken up, one client after the other.

    Attributes:
      start: shared -> the total of no client, all zeros: devices' totals are added up.
      add: (total, shared, one, result) -> (total, what is kept of this client).
    """

    start: Callable[[Any], Any]
    add: Callable[[Any, Any, Any, Any], tuple[Any, Any]]


KEEP_ALL = Fold(lambda shared: (), lambda total, shared, one, result: (total, result))
"""Adds nothing up and keeps every result."""


class Backend:
    """Runs a function of one client over a group of clients, and folds what it returns.

    Attributes:
      places: devices that clients are dealt to.
      start: shared -> the total of no client.
      add: (total, shared, some, real) -> (total, what is kept of each client): a group with a
        leading axis, and which of its places a client fills.
    """

    places = 1
    start: Callable[[Any], Any]
    add: Callable[[Any, Any, Any, np.ndarray], tuple[Any, Any]]

    def share(self, shared: Any) -> Any:
        """Puts what every client gets where the clients run."""
        return shared

    def end(self, total: Any) -> Any:
        """Returns the one total of all devices and hosts."""
        return total

    def flat(self, leaf: np.ndarray) -> np.ndarray:
        """Returns what was kept with the clients in one leading axis."""
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
        kept = []
        for place in np.flatnonzero(real):
            one = jax.tree.map(lambda leaf, place=place: leaf[place], some)
            total, here = self._step(total, shared, one)
            kept.append(here)
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *jax.device_get(kept))
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

        # XLA's partitioner gathers a layer where it is used, and cuts products where it can.
        def cut_run(total: Any, shared: Any, some: Any, real: jax.Array) -> tuple[Any, Any]:
            total, kept = run(total, shared, some, real)
            return self._cut(total), kept

        self._add = jax.jit(cut_run, donate_argnums=0)
        self.start = jax.jit(lambda shared: self._cut(fold.start(shared)))

    def _cut(self, total: Any) -> Any:
        return jax.lax.with_sharding_constraint(total, shardings(total, self._mesh))

    def share(self, shared: Any) -> Any:
        return shard(shared, list(self._mesh.devices))

    def add(self, total: Any, shared: Any, some: Any, real: np.ndarray) -> tuple[Any, Any]:
        whole = NamedSharding(self._mesh, PartitionSpec())
        return self._add(total, shared, *jax.device_put((some, real), whole))


class _Pmap(Backend):
    """The same program on every device, each with its share of the group."""

    def __init__(self, function: Callable, fold: Fold, at_once: int, devices: Any) -> None:
        self._devices, self._fold = list(devices or jax.local_devices()), fold
        self.places = len(self._devices)
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
        return self._start(shared, np.arange(self.places)) if jax.tree.leaves(empty) else empty

    def add(self, total: Any, shared: Any, some: Any, real: np.ndarray) -> tuple[Any, Any]:
        def deal(leaf: Any) -> Any:
            return leaf.reshape(self.places, -1, *leaf.shape[1:])

        return self._add(total, shared, jax.tree.map(deal, some), deal(real))

    def end(self, total: Any) -> Any:
        if not jax.tree.leaves(total):
            return total
        return _first(jax.tree.map(lambda leaf: leaf.addressable_shards[0].data, self._end(total)))

    def flat(self, leaf: np.ndarray) -> np.ndarray:
        return leaf.reshape(-1, *leaf.shape[2:])


def _on_device(function: Callable, fold: Fold, at_once: int) -> Callable:
    """Makes the loop over one device's clients: (total, shared, some, real) -> (total, kept)."""

    def run(total: Any, shared: Any, some: Any, real: jax.Array) -> tuple[Any, Any]:
        def work(total: Any, one: Any) -> tuple[Any, Any]:
            return fold.add(total, shared, one, function(shared, one))

        def take_up(total: Any, one_and_result: tuple[Any, Any]) -> tuple[Any, Any]:
            return fold.add(total, shared, *one_and_result)

        def several(total: Any, ones: Any) -> tuple[Any, Any]:
            some, real = ones
            results = jax.vmap(function, in_axes=(None, 0))(shared, some)
            return jax.lax.scan(_only_real(take_up), total, ((some, results), real))

        if at_once == 1:  # a batch of one would still turn `cond` into `select`
            return jax.lax.scan(_only_real(work), total, (some, real))
        chunks = jax.tree.map(lambda leaf: leaf.reshape(-1, at_once, *leaf.shape[1:]), (some, real))
        total, kept = jax.lax.scan(several, total, chunks)
        return total, jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), kept)

    return run


def _only_real(step: Callable[[Any, Any], tuple[Any, Any]]) -> Callable:
    """Skips places that no client fills."""

    def guarded(total: Any, one_and_real: tuple[Any, jax.Array]) -> tuple[Any, Any]:
        one, real = one_and_real
        empty = jax.eval_shape(step, total, one)[1]

        def rest(total: Any) -> tuple[Any, Any]:
            return total, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), empty)

        return jax.lax.cond(real, lambda total: step(total, one), rest, total)

    return guarded


@jax.jit
def _first(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], tree)


def replicated_sharding(devices: Sequence[jax.Device]) -> NamedSharding:
    """Returns the sharding of what every one of these devices holds whole."""
    return NamedSharding(Mesh(np.array(devices), ("device",)), PartitionSpec())


def shard(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """Cuts arrays over devices; see `shardings`."""
    return jax.device_put(tree, shardings(tree, Mesh(np.asarray(devices), (MESH_AXIS,))))


def shardings(shared: Any, mesh: Mesh) -> Any:
    """Chooses how arrays are cut over devices.

    Args:
      shared: a pytree of arrays, or of their shapes.
      mesh: of one axis.

    Returns:
      The same pytree of shardings: the last axis that the devices divide is cut. That is not the
      leading axis of layers if it can be helped, for then one device would hold the layer that all
      need. Vectors are small and stay whole, as does what cannot be cut.
    """

    def sharding(leaf: Any) -> NamedSharding:
        axes: list[str | None] = [None] * np.ndim(leaf)
        divided = [axis for axis, size in enumerate(np.shape(leaf)) if size % mesh.size == 0]
        if len(axes) > 1 and divided:
            axes[divided[-1]] = MESH_AXIS
        return NamedSharding(mesh, PartitionSpec(*axes))

    return jax.tree.map(sharding, shared)


BACKENDS: Mapping[str, Callable[[Callable, Fold, int, Any], Backend]] = {
    "pmap": _Pmap,
    "map": _Map,
    "sharded": _Sharded,
    "loop": _Loop,
}
"""How clients are laid out by name: (function, fold, clients at once, devices) -> `Backend`."""
