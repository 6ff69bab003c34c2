"""Gradients of single examples, formed one by one by autodiff."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.models import base, losses, units
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Batch, Params


def one_by_one(
    model: Model,
    unit: str,
    params: Params,
    batch: Batch,
    layers: Sequence[int],
    *,
    trains_head: bool = True,
) -> tuple[Any, np.ndarray]:
    """(gradients of chosen rows and head, leading axis B; their norms) by the scanned model."""
    frozen, rows_L, head = units.split(params, unit)

    def gradients(one: Batch) -> Any:
        single = jax.tree.map(lambda leaf: leaf[None], one)

        def objective(rows_L: Any, head: Any) -> jax.Array:
            logits_BC = base.apply(model, units.join(frozen, rows_L, head, unit), single)
            loss_B = losses.LOSSES["cross_entropy"](logits_BC, single.labels_B)
            return losses.masked_sum(loss_B, single)

        of_rows, of_head = jax.grad(objective, argnums=(0, 1))(rows_L, head)
        chosen = jax.tree.map(lambda leaf: leaf[np.array(layers, int)], of_rows)
        return chosen, of_head if trains_head else jax.tree.map(jnp.zeros_like, of_head)

    found = jax.jit(jax.vmap(gradients))(batch)
    leaves = jax.tree.leaves(found)
    flat = np.concatenate([np.reshape(leaf, (len(leaf), -1)) for leaf in leaves], 1)
    return found, np.linalg.norm(np.asarray(flat, np.float64), axis=1)
