"""SPT: the number of the model's most sensitive parameters in each layer (He et al. 2023).

A parameter's sensitivity is Σ g² over the batches of the probe examples; a layer's score counts
its elements among the model's top share of all selectable ones.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from f3ocus_jax.config import Section, setting
from f3ocus_jax.importance import probe as probe_lib
from f3ocus_jax.importance.probe import Probe
from f3ocus_jax.importance.score import Score, ScoreContext, per_layer, squares
from f3ocus_jax.types import Rows

MOST_ELEMENTS = 2**32 - 1
"""Elements are counted in uint32, since float32 cannot count beyond 2²⁴ one by one."""


@dataclasses.dataclass(frozen=True)
class SptOptions(Section):
    """Options of SPT."""

    share: float = setting(
        0.01,
        "τ, fraction of all selectable parameters that counts as sensitive.",
        above=0,
        at_most=1,
    )


def make_spt(context: ScoreContext, options: SptOptions) -> Score:
    """Makes the score.

    Args:
      context: Model, unit, loss, reduction and batches.
      options: Fraction of elements that is counted.

    Returns:
      A Score with values >= 0 that add up to the number of elements counted.
    """
    return probe_lib.make_probe(functools.partial(top_elements, share=options.share), context)


def top_elements(probe: Probe, *, share: float) -> jax.Array:
    """Counts every layer's elements among the model's most sensitive ones.

    Args:
      probe: Layers and probe examples of one client.
      share: τ; ⌈τ P⌉ of P elements are counted. Elements that tie for the last ranks share them
        evenly, so that the order of the parameters does not decide.

    Returns:
      values_L, >= 0; NaN for a layer whose gradient is not finite.

    Raises:
      ValueError: if there are more elements than can be counted.
    """
    size = sum(leaf.size for leaf in jax.tree.leaves(probe.rows_L))
    if size > MOST_ELEMENTS:
        raise ValueError(
            f'importance.score = "spt" got {size} selectable parameters and can rank at most '
            f'{MOST_ELEMENTS}; set training.unit = "adapter" or take another score'
        )
    # The mean over the batches orders as the sum does.
    sensitivity_L = probe.mean_over(probe.batches_J, squares)
    counted = math.ceil(share * size)
    threshold = kth_largest(sensitivity_L, counted)
    above = count(sensitivity_L, lambda leaf: leaf > threshold)
    tied = count(sensitivity_L, lambda leaf: leaf == threshold)
    part = (jnp.uint32(counted) - above) / tied

    def weight(leaf: jax.Array) -> jax.Array:
        return jnp.where(leaf > threshold, 1.0, jnp.where(leaf == threshold, part, 0.0))

    finite_L = jnp.isfinite(per_layer(sensitivity_L, "sum"))
    values_L = per_layer(jax.tree.map(weight, sensitivity_L), probe.reduction)
    return jnp.where(finite_L, values_L, jnp.nan)


def kth_largest(elements: Rows, rank: int) -> jax.Array:
    """Finds a rank exactly, without sorting: one pass over the elements per bit of a float.

    The bit patterns of non-negative floats, read as whole numbers, are in the floats' order.

    Args:
      elements: Pytree of float32 >= 0.
      rank: k, between 1 and the number of elements.

    Returns:
      float32 [], the k-th largest.
    """
    patterns = jax.tree.map(lambda leaf: leaf.view(jnp.uint32), elements)

    def refine(step: jax.Array, threshold: jax.Array) -> jax.Array:
        raised = threshold | (jnp.uint32(1 << 30) >> step.astype(jnp.uint32))
        return jnp.where(count(patterns, lambda leaf: leaf >= raised) >= rank, raised, threshold)

    return jax.lax.fori_loop(0, 31, refine, jnp.uint32(0)).view(jnp.float32)


def count(elements: Rows, condition: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """Counts the elements for which a condition holds: uint32 []."""
    counts = jax.tree.map(lambda leaf: jnp.sum(condition(leaf), dtype=jnp.uint32), elements)
    return jax.tree.reduce(jnp.add, counts)
