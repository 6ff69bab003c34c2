"""Updates whose norm is far above the round's median norm: reported, clipped or dropped."""

import jax
import numpy as np

from f3ocus_jax.aggregation.layerwise import Change, align
from f3ocus_jax.types import Array, Params, UpdateNorms

REPORT, CLIP, DROP = "report", "clip", "drop"
OUTLIERS = (REPORT, CLIP, DROP)
"""Treatments of outliers, all exact: clip and drop wait until all norms of the round are known."""


def judge(norms_K: Array, finite_K: Array, *, ratio: float, treatment: str) -> UpdateNorms:
    """Compares the norms of a round's updates.

    Args:
      norms_K: Norm of each client's change, before any clipping.
      finite_K: bool, False for updates that hold NaN or infinity.
      ratio: Norm, as a multiple of the round's median, above which an update is an outlier.
      treatment: One of `OUTLIERS`.

    Returns:
      Norms and decisions. The median is taken over finite updates that change anything, the lower
      one of an even number, so that half of the clients cannot raise it.
    """
    finite_K = np.asarray(finite_K, bool)
    norms_K = np.where(finite_K, np.asarray(norms_K, np.float64), np.nan)
    ascending = np.sort(norms_K[norms_K > 0])
    median = float(ascending[(len(ascending) - 1) // 2]) if len(ascending) else 1.0
    ratios_K = norms_K / median
    outlying_K = ratios_K > ratio
    accepted_K = finite_K & ~outlying_K if treatment == DROP else finite_K
    return UpdateNorms(norms_K, ratios_K, outlying_K, accepted_K, ratio * median)


def clip_outliers(changes_K: Change, norms: UpdateNorms, clip_norm: float) -> Change:
    """Scales outliers down to the largest norm that is none.

    Args:
      changes_K: Changes with leading axis K, NumPy arrays, already scaled to `clip_norm`.
      norms: Norms before that.
      clip_norm: The setting `config.aggregation.clip_norm`.

    Returns:
      Changes.
    """
    if not norms.outlying_K.any():
        return changes_K
    lengths_K = np.minimum(norms.norms_K, clip_norm or np.inf)
    limits_K = np.where(norms.outlying_K, np.minimum(norms.limit / lengths_K, 1.0), 1.0)
    return Change(*(_scaled(part, limits_K) for part in (changes_K.rows, changes_K.heads)))


def _scaled(tree_K: Params, factors_K: np.ndarray) -> Params:
    """Multiplies each client's arrays, in float64: a factor may be too small for float32."""
    return jax.tree.map(
        lambda leaf: (np.asarray(leaf, np.float64) * align(factors_K, leaf)).astype(np.float32),
        tree_K,
    )
