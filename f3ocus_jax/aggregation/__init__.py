"""One model from the clients' updates (F³OCUS, section 3.1)."""

from f3ocus_jax.aggregation.distances import (
    GeometricMedianOptions,
    KrumOptions,
    make_geometric_median,
    make_krum,
    make_multi_krum,
)
from f3ocus_jax.aggregation.robust import TrimmedMeanOptions, make_trimmed_mean, median
from f3ocus_jax.config import Component

MEAN = "mean"
"""The rule that adds changes up as they come in; all others need them together."""

RULES = {
    MEAN: Component(None, lambda: None),
    "median": Component(None, lambda: median),
    "trimmed_mean": Component(TrimmedMeanOptions, make_trimmed_mean),
    "krum": Component(KrumOptions, make_krum),
    "multi_krum": Component(KrumOptions, make_multi_krum),
    "geometric_median": Component(GeometricMedianOptions, make_geometric_median),
}
"""Rules by name: make([options]) -> `robust.Rule`; None for the mean."""

__all__ = ["MEAN", "RULES"]
