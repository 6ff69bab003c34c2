"""Settings of small sweeps."""

from typing import Any

from f3ocus_jax.config import defaults, parsing
from f3ocus_jax.sweep.settings import SweepConfig


def sweep_of(**changes: Any) -> SweepConfig:
    """The default sweep, one tiny run, with some settings replaced by dotted name."""
    raw = defaults(SweepConfig)
    with raw.unlocked():
        raw.update_from_flattened_dict(changes)
    return parsing.parse(SweepConfig, raw)
