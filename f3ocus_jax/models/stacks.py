"""Where are a model's parts among its parameters, if one of its stacks is the selectable one?

A family with several stacks has named parts. The blocks of the selectable stack become the rows of
`Model`; the parts that run before it are its embeddings, those that run after it its readout.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from f3ocus_jax.types import Params, Rows


@dataclasses.dataclass(frozen=True)
class Arrangement:
    """The parts of a model by where they run.

    Attributes:
      below: parts that run before the selectable stack.
      stack: the part that is the selectable stack.
      above: parts that run after it.
    """

    below: tuple[str, ...]
    stack: str
    above: tuple[str, ...]

    def arrange(self, parts: Params) -> Params:
        """Returns parts as the parameters of a `Model`; what else there is stays as it is."""
        known = {*self.below, self.stack, *self.above}
        return {
            "embeddings": {name: parts[name] for name in self.below},
            "blocks": parts[self.stack],
            "readout": {name: parts[name] for name in self.above},
        } | {name: parts[name] for name in parts if name not in known}

    def parts(self, params: Params) -> Params:
        """Undoes `arrange`."""
        others = {n: params[n] for n in params if n not in ("embeddings", "blocks", "readout")}
        return {**params["embeddings"], self.stack: params["blocks"], **params["readout"], **others}


def draw(init_block: Callable[[jax.Array], Rows], key: jax.Array, layers: int) -> Rows:
    """Draws the blocks of a stack.

    Args:
      init_block: typed random key -> one block.
      key: typed random key.
      layers: how many blocks.

    Returns:
      Blocks with a leading layer axis.
    """
    return jax.vmap(init_block)(jax.random.split(key, layers))


def run(block: Callable[[Rows, jax.Array], jax.Array], rows: Rows, hidden: jax.Array) -> jax.Array:
    """Runs a stack that is not selectable.

    Args:
      block: (one row, hidden_BTD) -> hidden_BTD.
      rows: blocks with a leading layer axis.
      hidden: hidden_BTD.

    Returns:
      hidden_BTD after the last block.
    """

    def step(hidden: jax.Array, row: Any) -> tuple[jax.Array, None]:
        return block(row, hidden), None

    return jax.lax.scan(step, hidden, rows)[0]
