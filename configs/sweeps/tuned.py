"""Two methods, each with the best of three learning rates on validation; ends in minutes."""

import ml_collections

from f3ocus_jax.config import defaults
from f3ocus_jax.sweep.settings import SweepConfig


def get_config() -> ml_collections.ConfigDict:
    """Returns the sweep."""
    sweep = defaults(SweepConfig)
    sweep.bases = ("phantom:tiny",)
    sweep.methods = ("f3ocus", "last_k")
    sweep.seeds = (0, 1)
    sweep.settings = {"federated": {"rounds": 4}}
    sweep.tuning.search = "grid"
    sweep.tuning.values = {"training": {"learning_rate": (4e-3, 1.6e-2, 6.4e-2)}}
    return sweep
