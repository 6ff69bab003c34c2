"""What is a layer worth without looking at any example? Random, last, magnitude, SynFlow."""

import jax
import jax.numpy as jnp

from f3ocus_jax.importance.score import Score, as_score, norms, per_layer, products, shares
from f3ocus_jax.models import base, units
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Batch, Params, Rows


def make_random(model: Model, **_: object) -> Score:
    """Makes the score of federated dropout: uniform draws per round and client.

    The K_i highest of them are K_i layers uniformly at random (Wen et al. 2021).

    Args:
      model: the model.

    Returns:
      A Score with values in [0, 1).
    """

    def draw(frozen: Params, rows_L: Rows, head: Params, batch: Batch, key: jax.Array) -> jax.Array:
        del frozen, rows_L, head, batch
        return jax.random.uniform(key, (model.num_layers,))

    return as_score(draw, shares)


def make_last(model: Model, **_: object) -> Score:
    """Makes the score of Last-k: how many blocks up a layer is, 1 for the first.

    Args:
      model: the model.

    Returns:
      A Score with values 1 … L.
    """

    def depth(*_: object) -> jax.Array:
        return jnp.arange(1.0, model.num_layers + 1.0)

    return as_score(depth, shares)


def make_magnitude(model: Model, *, reduction: str, **_: object) -> Score:
    """Makes the score ‖θ_l‖₂ (Han et al. 2015), the same for every client.

    Args:
      model: the model.
      reduction: "sum" for the norm, "mean" for the root mean square.

    Returns:
      A Score with values >= 0.
    """
    del model

    def magnitude(frozen: Params, rows_L: Rows, *_: object) -> jax.Array:
        del frozen
        return norms(rows_L, reduction)

    return as_score(magnitude, shares)


def make_synflow(model: Model, *, unit: str, reduction: str, **_: object) -> Score:
    """Makes the score Σ |θ · ∂R/∂θ| with absolute parameters everywhere (Tanaka et al. 2020).

    R is the sum of the outputs for one input that is all ones: pixels, token ids and mask. Ones in
    place of the embedded tokens would be constant over D, which LayerNorm turns into zeros. The
    LayerNorms are kept: with the identity in their place the products over the blocks overflow.

    Args:
      model: the model.
      unit: a key of `trainable.UNITS`, what a layer's parameters are.
      reduction: "sum" or "mean" over a layer's elements.

    Returns:
      A Score with values >= 0, the same for every client.
    """

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
        return per_layer(jax.tree.map(jnp.abs, saliency), reduction)

    return as_score(synflow, shares)
