"""Derivatives of one client's loss with respect to all of its layers at once.

Every gradient score is a few lines over the same three quantities: one gradient, one product with
the Hessian, and gradients of parts of the probe examples, of which only one is held at a time.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import TypeAlias, TypeVar

import jax
import jax.numpy as jnp

from f3ocus_jax.importance.score import Score, ScoreContext, as_score, fractions
from f3ocus_jax.models import base, losses, units
from f3ocus_jax.types import Batch, Params, Rows

Carry = TypeVar("Carry")


@dataclasses.dataclass(frozen=True)
class Probe:
    """One client's layers, its probe examples, and the loss that connects them.

    Attributes:
      rows_L: Selectable layers.
      head: Answer head.
      batch: N probe examples.
      batches_J: The same examples in J batches, leading axis J, made by `deal`.
      loss: (rows_L, head, batch) -> [], mean over the examples that count.
      reduction: "sum" or "mean" over a layer's elements.
    """

    rows_L: Rows
    head: Params
    batch: Batch
    batches_J: Batch
    loss: Callable[[Rows, Params, Batch], jax.Array]
    reduction: str

    def gradient(self, batch: Batch) -> Rows:
        """Returns the gradient of a batch's mean loss in every layer, a pytree like `rows_L`."""
        return jax.grad(self.loss)(self.rows_L, self.head, batch)

    def hessian_gradient(self) -> Rows:
        """Returns H ḡ, the Hessian of the mean loss times its gradient, forward over reverse.

        H couples the layers: it is the one of all selectable parameters together.
        """
        gradient = functools.partial(self.gradient_at, self.batch)
        return jax.jvp(gradient, (self.rows_L,), (gradient(self.rows_L),))[1]

    def gradient_at(self, batch: Batch, rows_L: Rows) -> Rows:
        """Returns the gradient of a batch's mean loss at given layers."""
        return jax.grad(self.loss)(rows_L, self.head, batch)

    def mean_over(self, parts: Batch, of_gradient: Callable[[Rows], Carry]) -> Carry:
        """Averages a function of the gradient over parts of the examples.

        Args:
          parts: Batches with a leading axis; empty ones do not count.
          of_gradient: Maps a gradient to any pytree of arrays.

        Returns:
          Mean of that pytree; 0 if no part counts.
        """
        counted = jnp.sum(losses.weights(parts), axis=-1) > 0

        def add(total: Carry, part: tuple[Batch, jax.Array]) -> tuple[Carry, None]:
            batch, counts = part
            value = of_gradient(self.gradient(batch))
            return jax.tree.map(lambda a, b: a + jnp.where(counts, b, 0.0), total, value), None

        shapes = jax.eval_shape(of_gradient, self.rows_L)
        start = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        total, _ = jax.lax.scan(add, start, (parts, counted))
        return jax.tree.map(lambda leaf: leaf / jnp.maximum(jnp.sum(counted), 1), total)


Values: TypeAlias = Callable[[Probe], jax.Array]
"""Maps a probe to values_L, the raw score of every layer."""


def make_probe(
    values: Values,
    context: ScoreContext,
    *,
    to_fractions: Callable[[jax.Array], jax.Array] = fractions,
) -> Score:
    """Makes a score from a function of the probe.

    Args:
      values: Raw score.
      context: Model, unit, loss, reduction and batches.
      to_fractions: Maps values_L to scores_L; monotone.

    Returns:
      A Score.
    """
    model, unit, per_example = context.model, context.unit, losses.make_loss(context.loss)

    def measure(
        frozen: Params, rows_L: Rows, head: Params, batch: Batch, key: jax.Array
    ) -> jax.Array:
        del key

        def mean_loss(rows_L: Rows, head: Params, batch: Batch) -> jax.Array:
            logits_BC = base.apply(model, units.join(frozen, rows_L, head, unit), batch)
            return losses.masked_mean(per_example(logits_BC, batch), batch)

        batches_J = deal(batch, context.probe_batches)
        return values(Probe(rows_L, head, batch, batches_J, mean_loss, context.reduction))

    return as_score(measure, to_fractions)


def deal(batch: Batch, batches: int) -> Batch:
    """Deals the examples to batches in turn, those that count before the others.

    The examples of a batch then do not depend on the amount of padding.

    Args:
      batch: N examples.
      batches: J; batches beyond the number of examples are empty.

    Returns:
      A Batch with leading axis J and ⌈N / J⌉ examples each.
    """
    examples = batch.labels_B.shape[0]
    slots = -(-examples // batches) * batches
    order = jnp.argsort(losses.weights(batch) == 0, stable=True)
    order = jnp.pad(order, (0, slots - examples), mode="edge")

    def take(leaf: jax.Array) -> jax.Array:
        leaf = jnp.asarray(leaf)[order]
        return leaf.reshape(-1, batches, *leaf.shape[1:]).swapaxes(0, 1)

    taken = jax.tree.map(take, batch)
    real = (jnp.arange(slots) < examples).reshape(-1, batches).swapaxes(0, 1)
    return taken.replace(example_mask_B=jnp.where(real, taken.example_mask_B, 0.0))


def singles(batch: Batch) -> Batch:
    """Returns every example as a batch of its own, leading axis N."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[:, None], batch)
