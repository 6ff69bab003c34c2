"""Scores that need no examples: random, last, magnitude, SynFlow."""

import jax
import jax.numpy as jnp

from f3ocus_jax.importance.score import (
    Score,
    ScoreContext,
    as_score,
    fractions,
    norms,
    per_layer,
    products,
)
from f3ocus_jax.models import base, units
from f3ocus_jax.types import Batch, Params, Rows


def make_random(context: ScoreContext) -> Score:
    """Makes the score of federated dropout: uniform draws per round and client.

    The K_i highest of them are K_i layers uniformly at random (Wen et al. 2021).

    Args:
      context: Model.

    Returns:
      A Score with values in [0, 1).
    """

    def draw(frozen: Params, rows_L: Rows, head: Params, batch: Batch, key: jax.Array) -> jax.Array:
        del frozen, rows_L, head, batch
        return jax.random.uniform(key, (context.model.num_layers,))

    return as_score(draw, fractions)


def make_last(context: ScoreContext) -> Score:
    """Makes the score of Last-k: index of the block from the input, 1 for the first.

    Args:
      context: Model.

    Returns:
      A Score with values 1 … L.
    """

    def depth(*_: object) -> jax.Array:
        return jnp.arange(1.0, context.model.num_layers + 1.0)

    return as_score(depth, fractions)


def make_magnitude(context: ScoreContext) -> Score:
    """Makes the score ‖θ_l‖₂ (Han et al. 2015), the same for every client.

    Args:
      context: Reduction: "sum" for the norm, "mean" for the root mean square.

    Returns:
      A Score with values >= 0.
    """

    def magnitude(frozen: Params, rows_L: Rows, *_: object) -> jax.Array:
        del frozen
        return norms(rows_L, context.reduction)

    return as_score(magnitude, fractions)


def make_synflow(context: ScoreContext) -> Score:
    """Makes the score Σ |θ · ∂R/∂θ| with absolute parameters everywhere (Tanaka et al. 2020).

    R is the sum of the outputs for one input that is all ones: pixels, token ids and mask. Embedded
    tokens of ones would be constant over D, which LayerNorm turns into zeros. The LayerNorms are
    kept: with the identity instead of them the products over the blocks overflow.

    Args:
      context: Model, unit and reduction.

    Returns:
      A Score with values >= 0, the same for every client.
    """
    model, unit = context.model, context.unit

    def synflow(
        frozen: Params, rows_L: Rows, head: Params, batch: Batch, key: jax.Array
    ) -> jax.Array:
        del key
        frozen, rows_L, head = jax.tree.map(jnp.abs, (frozen, rows_L, head))
        ones = jax.tree.map(lambda leaf: jnp.ones((1, *leaf.shape[1:]), leaf.dtype), batch)
        # Whole numbers would be taken for pixels of 1 / 255 and be normalised.
        ones = ones.replace(images_BHWC=ones.images_BHWC.astype(jnp.float32))
        if batch.image_size_B2 is not None:
            whole_B2 = jnp.array([ones.images_BHWC.shape[1:3]], jnp.int32)
            ones = ones.replace(image_size_B2=whole_B2)

        def outputs(rows_L: Rows) -> jax.Array:
            return jnp.sum(base.apply(model, units.join(frozen, rows_L, head, unit), ones))

        saliency = products(rows_L, jax.grad(outputs)(rows_L))
        return per_layer(jax.tree.map(jnp.abs, saliency), context.reduction)

    return as_score(synflow, fractions)
