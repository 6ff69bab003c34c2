"""Reading and writing some clients' entries of arrays with leading axis K."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from f3ocus_jax.types import Array


def take_clients(tree: Any, indices: np.ndarray | int) -> Any:
    """Returns some clients' entries of a pytree with leading axis K; None of None.

    Args:
      tree: The pytree.
      indices: Their indices; one index for the entry of one client, without that axis.
    """
    return jax.tree.map(lambda leaf: np.asarray(leaf)[indices], tree)


def put_clients(all_K: Any, indices: np.ndarray, some: Any) -> Any:
    """Returns a copy of a pytree with leading axis K, with other entries for some clients."""

    def put(leaf_K: Array, values: Array) -> np.ndarray:
        changed = np.array(leaf_K)
        changed[indices] = values
        return changed

    return jax.tree.map(put, all_K, some)


def repeat_for_clients(tree: Any, clients: int) -> Any:
    """Gives every client a copy of a pytree: the same with a leading axis K."""
    return jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf)[None], clients, axis=0), tree)


def by_client(tree: Any, names: Sequence[str]) -> dict[str, Any] | None:
    """Returns the name of every client to its entry of a pytree with leading axis K; None of None.

    Args:
      tree: The pytree.
      names: Names of the K clients.
    """
    if tree is None:
        return None
    return {name: take_clients(tree, index) for index, name in enumerate(names)}
