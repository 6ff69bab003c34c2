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
      {map: {"down": [L, in, rank], "up": [L, rank, out]}}, float32. The change is their product:
      its usual factor, alpha / rank, is 1.

    Raises:
      ValueError: if the blocks have no map of these names.
    """
    names = [name for name in sorted(blocks) if name.endswith(ADAPTED)]
    if not names:
        raise ValueError(f"blocks have the maps {sorted(blocks)}, none ends in {ADAPTED}")

    def draw(key: jax.Array, name: str) -> Rows:
        depth, width, outputs = blocks[name]["kernel"].shape
        bound = width**-0.5
        down = jax.random.uniform(key, (depth, width, rank), minval=-bound, maxval=bound)
        return {"down": down, "up": jnp.zeros((depth, rank, outputs))}

    keys = jax.random.split(key, len(names))
    return {name: draw(key, name) for key, name in zip(keys, names, strict=True)}


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
        name = context.module.name
        if not isinstance(context.module, nn.Dense) or name not in row:
            return outputs
        change = (inputs[0] @ row[name]["down"]) @ row[name]["up"]
        return outputs + change.astype(outputs.dtype)

    return nn.intercept_methods(intercept)


def merge(blocks: Rows, rows: Rows) -> Rows:
    """Adds the changes to the maps.

    Args:
      blocks: leading axis L.
      rows: of `init_stack`.

    Returns:
      Blocks that do without them.
    """
    merged = dict(blocks)
    for name, maps in rows.items():
        kernel = blocks[name]["kernel"]
        change = jnp.matmul(maps["down"], maps["up"], precision="highest")
        merged[name] = {**blocks[name], "kernel": (kernel + change).astype(kernel.dtype)}
    return merged
