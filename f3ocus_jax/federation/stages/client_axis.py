"""Reading and writing some clients' entries of arrays with leading axis K."""

from typing import Any

import jax
import numpy as np

from f3ocus_jax.types import Array


def take_clients(tree: Any, indices: np.ndarray) -> Any:
    """Returns some clients' entries of a pytree with leading axis K; None of None."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[indices], tree)


def put_clients(all_K: Any, indices: np.ndarray, some: Any) -> Any:
    """Returns a copy of a pytree with leading axis K, with other entries for some clients."""

    def put(leaf_K: Array, values: Array) -> np.ndarray:
        changed = np.array(leaf_K)
        changed[indices] = values
        return changed

    return jax.tree.map(put, all_K, some)
