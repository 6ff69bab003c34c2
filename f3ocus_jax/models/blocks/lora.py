"""How is a frozen linear map changed by two thin ones? Low-rank adaptation (Hu et al., 2022).

The change is added while a block runs, from outside of the block, so that every family has it: the
maps of queries and values are found by their names. Nothing of their size is computed or kept. It
can be added to the maps themselves, exactly, where a model shall do without it.
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
"""Ends of the names of the maps that are changed; "cross_query" is one of them."""


def init_stack(key: jax.Array, blocks: Rows, rank: int) -> Rows:
    """Draws fresh changes of all blocks, which change nothing: their second map is zero.

    Args:
      key: typed random key.
      blocks: leading axis L.
      rank: width between the two maps.

    Returns:
      {map: {"down": [L, in, rank], "up": [L, rank, out]}}, float32, nested as the blocks are. The
      change is their product: its usual factor, alpha / rank, is 1.

    Raises:
      ValueError: if the blocks have no map of these names.
    """
    flat = traverse_util.flatten_dict(blocks)
    maps = {path[:-1]: leaf for path, leaf in sorted(flat.items()) if _is_adapted(path)}
    if not maps:
        raise ValueError(f"blocks have the maps {sorted(blocks)}, none ends in {ADAPTED}")

    def draw(key: jax.Array, kernel: jax.Array) -> Rows:
        depth, width, outputs = kernel.shape
        bound = width**-0.5
        down = jax.random.uniform(key, (depth, width, rank), minval=-bound, maxval=bound)
        return {"down": down, "up": jnp.zeros((depth, rank, outputs))}

    keys = jax.random.split(key, len(maps))
    pairs = zip(keys, maps.items(), strict=True)
    return traverse_util.unflatten_dict({path: draw(key, kernel) for key, (path, kernel) in pairs})


def _is_adapted(path: Path) -> bool:
    return len(path) > 1 and path[-1] == "kernel" and path[-2].endswith(ADAPTED)


def applied(row: Rows | None) -> contextlib.AbstractContextManager[None]:
    """Returns a context in which the linear maps of a block are changed.

    Args:
      row: one row of the stack; None to change nothing.
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
    """Returns the change of a linear map; None for what is not changed."""
    if not isinstance(module, nn.Dense):
        return None
    # A row that holds several blocks tells them apart by the name of the module around the map.
    around = row.get(getattr(module.parent, "name", None), row)
    return around.get(module.name)


def merge(blocks: Rows, rows: Rows) -> Rows:
    """Adds the changes to the maps.

    Args:
      blocks: leading axis L.
      rows: of `init_stack`.

    Returns:
      Blocks that do without them.
    """
    merged, flat = traverse_util.flatten_dict(blocks), traverse_util.flatten_dict(rows)
    for path in {path[:-1] for path in flat}:
        kernel = merged[*path, "kernel"]
        change = jnp.matmul(flat[*path, "down"], flat[*path, "up"], precision="highest")
        merged[*path, "kernel"] = (kernel + change).astype(kernel.dtype)
    return traverse_util.unflatten_dict(merged)
