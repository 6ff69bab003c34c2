"""Models of published sizes with random weights, frozen ones in bfloat16, and batches for them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.pretraining_step import random_batch
from f3ocus_jax.models import FAMILIES, published, sizes, units
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.spec import ModelSpec
from f3ocus_jax.types import Batch, Params, Rows

UNIT, ADAPTER_SIZE, ANSWERS = "adapter", 48, 32
TINY_IMAGE = 32


class Made(NamedTuple):
    """A model and its parameters.

    Attributes:
      model: The model.
      spec: Its specification.
      frozen: Parameters that no client trains, in bfloat16.
      rows_L: Adapters of all layers, float32.
      head: Answer head, float32.
    """

    model: Model
    spec: ModelSpec[Any]
    frozen: Params
    rows_L: Rows
    head: Params

    def batch(self, examples: int) -> Batch:
        """Returns random examples, on the device."""
        return jax.device_put(random_batch(self.spec, examples))


def make(name: str, *, tiny: bool) -> Made:
    """Makes a model.

    Args:
      name: A key of `published.PUBLISHED`.
      tiny: True for its family at tiny sizes.
    """
    choices = {"adapter_size": 4 if tiny else ADAPTER_SIZE, "num_answers": ANSWERS}
    spec = _tiny_spec(name, choices) if tiny else published.make_spec(name, **choices)
    model = FAMILIES[spec.family].make_model(spec)

    @jax.jit
    def draw(key: jax.Array) -> tuple[Params, Rows, Params]:
        frozen, rows_L, head = units.split(model.init(key), UNIT)
        rows_L = jax.tree.map(lambda leaf: leaf + 0.02 * jax.random.normal(key, leaf.shape), rows_L)
        return jax.tree.map(_in_bfloat16, frozen), rows_L, head

    return Made(model, spec, *draw(jax.random.key(0)))


def _tiny_spec(name: str, choices: dict[str, Any]) -> ModelSpec[Any]:
    family, _ = published.PUBLISHED[name]
    named = family.standardise(next(iter(family.tiny.values()))(TINY_IMAGE))
    return family.spec(sizes.build(family.config, named), **choices)


def _in_bfloat16(leaf: jax.Array) -> jax.Array:
    return leaf.astype(jnp.bfloat16) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
