"""Mean of the clients' low-rank changes: of their products, and not of their factors.

A layer's low-rank change is the product of its maps "down" and "up" (`models/blocks/lora.py`). The
mean of the clients' maps, one after the other, is not the mean of their products: with two clients
it has the cross terms of one's "down" with the other's "up". Here the mean product itself is
factorised, by a QR decomposition of the joined maps and the singular values of a small matrix, as
in FlexLoRA (Bai et al., 2024, "Federated Fine-tuning of Large Language Models under Heterogeneous
Tasks and Client Resources"). It is exact where the mean has the rank of the maps, and the nearest
change of that rank otherwise (Eckart and Young, 1936).
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

from f3ocus_jax.aggregation.layerwise import align, of_layer
from f3ocus_jax.types import Array, Rows

FACTORS, PRODUCT = "factors", "product"
LOW_RANK = (FACTORS, PRODUCT)
"""The mean of each map by itself, and the mean of the products."""

DOWN, UP = "down", "up"
"""Names of the maps of a low-rank change."""


def factorise(down_DM: jax.Array, up_MO: jax.Array, rank: int) -> tuple[jax.Array, jax.Array]:
    """Returns the nearest product of maps with a given rank.

    Args:
      down_DM: float32, first map, D inputs to M.
      up_MO: float32, second map, M to O outputs.
      rank: Rank of the result, at most D and O.

    Returns:
      (down [D, rank], up [rank, O]). The columns of "down" are orthonormal, also where the product
      has a smaller rank: a map of zeros in front of one of zeros would never get a gradient.
    """
    left_DQ, inner_QM = jnp.linalg.qr(down_DM)
    right_OQ, outer_QM = jnp.linalg.qr(up_MO.T)
    core = jnp.matmul(inner_QM, outer_QM.T, precision="highest")
    left, values, right = jnp.linalg.svd(core, full_matrices=False)
    down = jnp.matmul(left_DQ, left[:, :rank], precision="highest")
    up = jnp.matmul(values[:rank, None] * right[:rank], right_OQ.T, precision="highest")
    return down, up


def mean_products(
    rows_L: Rows, changes_K: Rows, layers_KR: Array, weights_KR: Array, counted_K: Array
) -> Rows:
    """Returns the change of the layers that leads to the weighted mean of the clients' products.

    Args:
      rows_L: Low-rank changes before the round, leading axis L.
      changes_K: Changes of their maps, float32, leading axes K and R.
      layers_KR: int32, layer of each row; L for an unused slot.
      weights_KR: float32, weight of each client in the layer of each row.
      counted_K: bool, True for clients that count; the others' changes may be NaN.

    Returns:
      Change of both maps, leading axis L; 0 for a layer that no counted client trained.
    """
    before, changes = traverse_util.flatten_dict(rows_L), traverse_util.flatten_dict(changes_K)

    def mean_of_layer(layer: jax.Array) -> dict[Any, jax.Array]:
        held_KR = (changes, jnp.asarray(weights_KR))
        (own_K, own_weight_K), by_K = of_layer(held_KR, layers_KR, counted_K, layer)
        weight_K = jnp.where(by_K, own_weight_K, 0.0)
        share_K = weight_K / jnp.maximum(jnp.sum(weight_K), 1e-30)

        def of_clients(path: tuple[str, ...]) -> jax.Array:
            change_K = own_K[path]
            return before[path][layer][None] + jnp.where(align(by_K, change_K), change_K, 0.0)

        found = {}
        for path in sorted({path[:-1] for path in before}):
            down, up = _mean_product(of_clients((*path, DOWN)), of_clients((*path, UP)), share_K)
            for name, after in ((DOWN, down), (UP, up)):
                change = after - before[*path, name][layer]
                found[*path, name] = jnp.where(jnp.any(by_K), change, 0.0)
        return found

    num_layers = jax.tree.leaves(rows_L)[0].shape[0]
    return traverse_util.unflatten_dict(jax.lax.map(mean_of_layer, jnp.arange(num_layers)))


def _mean_product(
    down_KDM: jax.Array, up_KMO: jax.Array, share_K: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the maps of the mean of K products: those of all clients, side by side."""
    weighted_DKM = jnp.moveaxis(align(share_K, down_KDM) * down_KDM, 0, 1)
    joined_DM = weighted_DKM.reshape(down_KDM.shape[1], -1)
    return factorise(joined_DM, up_KMO.reshape(-1, up_KMO.shape[-1]), down_KDM.shape[-1])
