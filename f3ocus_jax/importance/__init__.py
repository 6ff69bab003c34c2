"""Importance of each layer to one client (F³OCUS, section 3.2)."""

from functools import partial

from f3ocus_jax.config import Component
from f3ocus_jax.importance import probe, saliency, without_data
from f3ocus_jax.importance.black_box import layerwise_ntk_of
from f3ocus_jax.importance.fedselect import FedSelectOptions, make_fedselect
from f3ocus_jax.importance.lntk import LntkOptions, make_lntk
from f3ocus_jax.importance.network import Network
from f3ocus_jax.importance.score import Importance, Score, ScoreContext, shifted_fractions
from f3ocus_jax.importance.spectrum import Spectrum, layerwise_ntk, layerwise_trace, make_plan
from f3ocus_jax.importance.spt import SptOptions, make_spt

SCORES = {
    "lntk": Component(LntkOptions, make_lntk),
    "random": Component(None, without_data.make_random),
    "last": Component(None, without_data.make_last),
    "magnitude": Component(None, without_data.make_magnitude),
    "synflow": Component(None, without_data.make_synflow),
    "snip": Component(None, partial(probe.make_probe, saliency.snip)),
    "grasp": Component(
        None, partial(probe.make_probe, saliency.grasp, to_fractions=shifted_fractions)
    ),
    "gradflow": Component(None, partial(probe.make_probe, saliency.gradflow)),
    "gradflow_preserve": Component(None, partial(probe.make_probe, saliency.gradflow_preserve)),
    "fishmask": Component(None, partial(probe.make_probe, saliency.fishmask)),
    "squared_gradient": Component(None, partial(probe.make_probe, saliency.squared_gradient)),
    "rgn": Component(None, partial(probe.make_probe, saliency.rgn)),
    "spt": Component(SptOptions, make_spt),
    "fedselect": Component(FedSelectOptions, make_fedselect),
}
"""Scores by name: make(ScoreContext[, options]) -> Score."""

__all__ = [
    "SCORES",
    "Importance",
    "LntkOptions",
    "Network",
    "Score",
    "ScoreContext",
    "Spectrum",
    "layerwise_ntk",
    "layerwise_ntk_of",
    "layerwise_trace",
    "make_plan",
]
