"""What is each layer worth to one client?"""

from collections.abc import Callable
from functools import partial

from f3ocus_jax.importance import fedselect, lntk, probe, saliency, score, spt, without_data
from f3ocus_jax.importance.network import Network
from f3ocus_jax.importance.opaque import layerwise_ntk_of
from f3ocus_jax.importance.score import Importance, Score
from f3ocus_jax.importance.spectrum import Spectrum, layerwise_ntk, layerwise_trace, make_plan

SCORES: dict[str, Callable[..., Score]] = {
    "lntk": lntk.create,
    "random": without_data.create_random,
    "last": without_data.create_last,
    "magnitude": without_data.create_magnitude,
    "synflow": without_data.create_synflow,
    "snip": partial(probe.create, saliency.snip),
    "grasp": partial(probe.create, saliency.grasp, to_shares=score.shifted_shares),
    "gradflow": partial(probe.create, saliency.gradflow),
    "gradflow_preserve": partial(probe.create, saliency.gradflow_preserve),
    "fishmask": partial(probe.create, saliency.fishmask),
    "rgn": partial(probe.create, saliency.rgn),
    "spt": spt.create,
    "fedselect": fedselect.create,
}
"""Every score by name: create(model, **settings) -> Score, which takes the settings it needs."""

__all__ = [
    "SCORES",
    "Importance",
    "Network",
    "Score",
    "Spectrum",
    "layerwise_ntk",
    "layerwise_ntk_of",
    "layerwise_trace",
    "make_plan",
]
