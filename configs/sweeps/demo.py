"""Four methods and two seeds on drawn images, with a small random model; ends in minutes."""

import ml_collections

from f3ocus_jax.config import defaults
from f3ocus_jax.sweep.settings import SweepConfig


def get_config() -> ml_collections.ConfigDict:
    """Returns the sweep."""
    sweep = defaults(SweepConfig)
    sweep.bases = ("phantom:tiny",)
    sweep.methods = ("f3ocus", "lntk", "fd", "last_k")
    sweep.seeds = (0, 1)
    sweep.settings = {"federated": {"rounds": 6}}
    return sweep
