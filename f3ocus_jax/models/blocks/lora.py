"""Low-rank adaptation of frozen linear maps, LoRA (Hu et al., 2022).

The low-rank change is added while a block runs, from outside of the block, so that every family has
it: the maps of queries and values are found by their names. Nothing of the size of their weights is
computed or kept. `merge` adds the change to the weights themselves, exactly.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util

from f3ocus_jax.models.huggingface.layout import Path
from f3ocus_jax.types import Rows

ADAPTED = ("query", "value")
"""Suffixes of the names of the adapted maps; "cross_query" matches, too."""


def init_stack(key: jax.Array, blocks: Rows, rank: int) -> Rows:
    """Initialises the low-rank changes of all blocks, whose second map is zero.

    Args:
      key: Typed random key.
      blocks: Parameters of the blocks, leading axis L.
      rank: Width between the two maps.

    Returns:
      {map: {"down": [L, in, rank], "up": [L, rank, out]}}, float32, nested as the blocks are. The
      change is their product: its usual factor, alpha / rank, is 1.

    Raises:
      ValueError: If no map of the blocks has such a name.
    """
    flat = traverse_util.flatten_dict(blocks)
    maps = {path[:-1]: leaf for path, leaf in sorted(flat.items()) if _is_adapted(path)}
    if not maps:
        raise ValueError(f"blocks have the maps {sorted(blocks)}, none ends in {ADAPTED}")

    def init(key: jax.Array, kernel: jax.Array) -> Rows:
        depth, width, outputs = kernel.shape
        bound = width**-0.5
        down = jax.random.uniform(key, (depth, width, rank), minval=-bound, maxval=bound)
        return {"down": down, "up": jnp.zeros((depth, rank, outputs))}

    keys = jax.random.split(key, len(maps))
    pairs = zip(keys, maps.items(), strict=True)
    return traverse_util.unflatten_dict({path: init(key, kernel) for key, (path, kernel) in pairs})


def _is_adapted(path: Path) -> bool:
    return len(path) > 1 and path[-1] == "kernel" and path[-2].endswith(ADAPTED)


def applied(row: Rows | None) -> contextlib.AbstractContextManager[None]:
    """Returns a context in which the linear maps of a block are adapted.

    Args:
      row: One row of the stack; None to change nothing.
    """
    if row is None:
        return contextlib.nullcontext()

    def intercept(
        call: Callable[..., Any],
        inputs: tuple[Any, ...],
        options: Mapping[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        outputs = call(*inputs, **options)
        maps = _maps(row, context.module)
        if maps is None:
            return outputs
        change = (inputs[0] @ maps["down"]) @ maps["up"]
        return outputs + change.astype(outputs.dtype)

    return nn.intercept_methods(intercept)


def _maps(row: Rows, module: nn.Module) -> Rows | None:
    """Returns the low-rank maps of a module; None if it is not adapted."""
    if not isinstance(module, nn.Dense):
        return None
    # A row of several blocks tells them apart by the name of the module around the map.
    enclosing = row.get(getattr(module.parent, "name", None), row)
    return enclosing.get(module.name)


def merge(blocks: Rows, rows: Rows) -> Rows:
    """Adds the low-rank changes to the weights.

    Args:
      blocks: Parameters of the blocks, leading axis L.
      rows: Low-rank changes as made by `init_stack`.

    Returns:
      Parameters of equivalent blocks without low-rank changes.
    """
    merged, flat = traverse_util.flatten_dict(blocks), traverse_util.flatten_dict(rows)
    for path in {path[:-1] for path in flat}:
        kernel = merged[*path, "kernel"]
        change = jnp.matmul(flat[*path, "down"], flat[*path, "up"], precision="highest")
        merged[*path, "kernel"] = (kernel + change).astype(kernel.dtype)
    return traverse_util.unflatten_dict(merged)
