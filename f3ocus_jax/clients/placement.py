"""Where do the clients of a round run: over devices, on one, on all as one, or in a loop?"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Result = TypeVar("Result")

MESH_AXIS = "parts"


def create(
    function: Callable[..., Result],
    *,
    placement: str,
    clients_at_once: int = 1,
    devices: Sequence[jax.Device] | None = None,
) -> Callable[..., Result]:
    """Spreads a function of one client over all clients.

    Args:
      function: (shared, one) -> a pytree of arrays: what every client gets, and what is its own.
      placement: "pmap" over `devices` with `lax.map` inside, "map" on one device, "sharded" for
        one client after the other with what is shared cut over `devices`, or "loop".
      clients_at_once: clients that one device runs side by side.
      devices: for "pmap" and "sharded"; all local ones unless given.

    Returns:
      (shared, all_K) -> results_K: the same with a leading client axis, as NumPy arrays. It
      compiles once per shape.
    """
    return BACKENDS[placement](function, clients_at_once, devices or jax.local_devices())


def _loop(function: Callable, clients_at_once: int, devices: Sequence[jax.Device]) -> Callable:
    del clients_at_once, devices
    one_client = jax.jit(function)

    def run(shared: Any, all_K: Any) -> Any:
        results = [one_client(shared, _client(all_K, place)) for place in range(_count(all_K))]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *results)

    return run


def _map(function: Callable, clients_at_once: int, devices: Sequence[jax.Device]) -> Callable:
    del devices

    @jax.jit
    def on_device(shared: Any, all_K: Any) -> Any:
        return _sequential(function, shared, all_K, clients_at_once)

    return lambda shared, all_K: jax.device_get(on_device(shared, all_K))


def _pmap(function: Callable, clients_at_once: int, devices: Sequence[jax.Device]) -> Callable:
    on_devices = jax.pmap(
        lambda shared, some: _sequential(function, shared, some, clients_at_once),
        in_axes=(None, 0),
        devices=devices,
    )

    def run(shared: Any, all_K: Any) -> Any:
        count = _count(all_K)
        per_device = -(-count // len(devices))
        # The client axis is filled up with repeats of the last client, whose results are dropped.
        places = np.minimum(np.arange(per_device * len(devices)), count - 1)

        def deal(leaf: Any) -> np.ndarray:
            leaf = np.asarray(leaf)[places]
            return leaf.reshape(len(devices), per_device, *leaf.shape[1:])

        results = jax.device_get(on_devices(shared, jax.tree.map(deal, all_K)))
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], results)

    return run


def _sharded(function: Callable, clients_at_once: int, devices: Sequence[jax.Device]) -> Callable:
    mesh = Mesh(np.asarray(devices), (MESH_AXIS,))
    # XLA's partitioner gathers a layer where it is used, and cuts the matrix products where it can.
    on_mesh = jax.jit(lambda shared, all_K: _sequential(function, shared, all_K, clients_at_once))

    def run(shared: Any, all_K: Any) -> Any:
        everywhere = NamedSharding(mesh, PartitionSpec())
        placed = jax.device_put(shared, shardings(shared, mesh))
        return jax.device_get(on_mesh(placed, jax.device_put(all_K, everywhere)))

    return run


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

    def cut(leaf: Any) -> NamedSharding:
        axes: list[str | None] = [None] * np.ndim(leaf)
        divided = [axis for axis, size in enumerate(np.shape(leaf)) if size % mesh.size == 0]
        if len(axes) > 1 and divided:
            axes[divided[-1]] = MESH_AXIS
        return NamedSharding(mesh, PartitionSpec(*axes))

    return jax.tree.map(cut, shared)


def _sequential(function: Callable, shared: Any, some: Any, clients_at_once: int) -> Any:
    if clients_at_once == 1:  # a batch of one would still turn `cond` into `select`
        return jax.lax.map(lambda one: function(shared, one), some)
    return jax.lax.map(lambda one: function(shared, one), some, batch_size=clients_at_once)


def _client(all_K: Any, place: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[place], all_K)


def _count(all_K: Any) -> int:
    return jnp.shape(jax.tree.leaves(all_K)[0])[0]


BACKENDS = {"pmap": _pmap, "map": _map, "sharded": _sharded, "loop": _loop}
