"""What is each layer worth to one client?"""

from collections.abc import Callable
from functools import partial

from f3ocus_jax.importance import fedselect, lntk, probe, saliency, score, spt, without_data
from f3ocus_jax.importance.network import Network
from f3ocus_jax.importance.opaque import layerwise_ntk_of
from f3ocus_jax.importance.score import Importance, Score
from f3ocus_jax.importance.spectrum import Spectrum, layerwise_ntk, layerwise_trace, make_plan

SCORES: dict[str, Callable[..., Score]] = {
    "lntk": lntk.make_lntk,
    "random": without_data.make_random,
    "last": without_data.make_last,
    "magnitude": without_data.make_magnitude,
    "synflow": without_data.make_synflow,
    "snip": partial(probe.make_probe, saliency.snip),
    "grasp": partial(probe.make_probe, saliency.grasp, to_shares=score.shifted_shares),
    "gradflow": partial(probe.make_probe, saliency.gradflow),
    "gradflow_preserve": partial(probe.make_probe, saliency.gradflow_preserve),
    "fishmask": partial(probe.make_probe, saliency.fishmask),
    "rgn": partial(probe.make_probe, saliency.rgn),
    "spt": spt.make_spt,
    "fedselect": fedselect.make_fedselect,
}
"""Every score by name: make(model, **settings) -> Score, which takes the settings it needs."""

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
