"""One model from the clients' updates (F³OCUS, section 3.1)."""

from f3ocus_jax.aggregation.robust import CENTRES
from f3ocus_jax.config import Component

RULES = {"mean": Component(None, lambda: None), **CENTRES}
"""Rules by name: make([options]) -> Centre; None for the mean, which adds up changes instead."""

__all__ = ["RULES"]
