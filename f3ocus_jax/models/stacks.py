"""Stacks of blocks: fresh parameters, and a run through a stack that is not selectable."""

from collections.abc import Callable
from typing import Any

import jax

from f3ocus_jax.types import Rows


def draw(init_block: Callable[[jax.Array], Rows], key: jax.Array, layers: int) -> Rows:
    """Draws the blocks of a stack.

    Args:
      init_block: Maps a typed random key to one block.
      key: Typed random key.
      layers: Number of blocks, L.

    Returns:
      Blocks with a leading layer axis.
    """
    return jax.vmap(init_block)(jax.random.split(key, layers))


def run(block: Callable[[Rows, jax.Array], jax.Array], rows: Rows, hidden: jax.Array) -> jax.Array:
    """Runs a stack that is not selectable.

    Args:
      block: Maps (one row, hidden_BTD) to hidden_BTD.
      rows: Blocks with a leading layer axis.
      hidden: hidden_BTD in front of the first block.

    Returns:
      hidden_BTD after the last block.
    """

    def step(hidden: jax.Array, row: Any) -> tuple[jax.Array, None]:
        return block(row, hidden), None

    return jax.lax.scan(step, hidden, rows)[0]
