"""Sweeps of docs/evidence.md, on federations of real images; `make evidence` runs them.

Variants:
  "": the paper's layer methods, and all layers, on six hospitals of one modality each.
  "confirmation": the methods of the questions on the six hospitals, ten further seeds.
  "federations": the paper's layer methods, and all layers, on the four other federations.
  "adapters": the same methods on adapters, and the paper's methods of one unit in all layers.
  "federations_adapters": F³OCUS on adapters and the paper's methods of one unit in all layers, on
    the four other federations, at one rate.
  "budgets": budgets of 4, and of 1 to 4, on the six hospitals.
  "ablations": F³OCUS with one setting changed at a time.
  "other_scores": F³OCUS with the scores of GraSP and of magnitude, on all five federations.
  "weak_start": the methods of the questions from an untrained vision side.
  "relative": F³OCUS and LNTK with scores divided by their mean over the clients.
  "fidelity": what the paper leaves open, one setting changed at a time, at one rate.
  "intervals": F³OCUS with scores of every round, of every third and of the first, at one rate.
  "searches": the five metaheuristics, memetic and as published, and the exact front.
  "features": the methods of the paper's t-SNE, one seed, whose runs keep features.
  "albef": the methods of the questions on the six hospitals, from an ALBEF with MiniLM's layers;
    `make evidence` leaves it out, since its start alone takes hours.
  "tiny": two methods on made-up files, in seconds.
But in "intervals", "fidelity" and "federations_adapters", the learning rate of every method and
row is chosen from the same three on validation examples.
"""

from typing import Any

import ml_collections

from f3ocus_jax.config import defaults
from f3ocus_jax.federation import presets
from f3ocus_jax.federation.presets import OWN_CHOICE_SCORES
from f3ocus_jax.sweep.settings import SweepConfig

QUESTIONED = ("f3ocus", "lntk", "fd", "last_k", "full")
"""Both criteria, importance alone, neither, depth alone, and all layers."""

LAYER_METHODS = tuple(name for name in OWN_CHOICE_SCORES if name != "gradflow_preserve")
PEFT_METHODS = ("adap", "lora", "bias", "ln", "feddat", "promptfl")
FEDERATIONS = ("medmnist3_own_splits", "label_shift_strong", "label_shift", "task1")
SEARCHES = ("nsga2", "abc", "aco", "sa", "mopso")
LAST_POINT = 10**6
"""Beyond the end of every front, and so the most important point."""

ABLATIONS = (
    {"selection": {"pick": "index", "index": {"position": 0}}},
    {"selection": {"pick": "index", "index": {"position": LAST_POINT}}},
    {"importance": {"shuffled": True}},
    {"importance": {"every": 3}},
    {"importance": {"every": 1000}},
    {"importance": {"lntk": {"kernel": "loss"}}},
    {"importance": {"probe_examples": 1, "probe_batches": 1}},
    {"importance": {"probe_examples": 16}},
    {"importance": {"probe_examples": 64}},
    {"importance": {"score": "random"}, "selection": {"pick": "index", "index": {"position": 0}}},
)
"""The flattest and the most important point of the front, scores of other layers, scores of every
third and of the first round, the kernel of the losses, fewer and more examples, an even deal."""

FIDELITY = (
    {"training": {"head": "first_rounds", "head_rounds": 1}},
    {"training": {"head": "personal"}},
    {"training": {"optimizer_state": "kept"}},
    {"training": {"decay": "matrices"}},
    {"aggregation": {"weights": "equal"}},
    {"aggregation": {"weights": "steps"}},
)
"""What the paper leaves open: who trains the head and when, the moments of AdamW from round to
round, what decays, and the clients' weights in the mean."""

VARIANTS: dict[str, dict[str, Any]] = {
    "": {"methods": (*LAYER_METHODS, "f3ocus", "full")},
    "confirmation": {"methods": QUESTIONED, "seeds": tuple(range(5, 15))},
    "federations": {
        "bases": tuple(f"evidence:{name}" for name in FEDERATIONS),
        "methods": (*LAYER_METHODS, "f3ocus", "full"),
    },
    "adapters": {
        "bases": ("evidence:adapters",),
        "methods": (*QUESTIONED[:-1], *PEFT_METHODS),
    },
    "federations_adapters": {
        "bases": tuple(f"evidence:{name}_adapters" for name in FEDERATIONS),
        "methods": ("f3ocus", *PEFT_METHODS),
        "settings": {"training": {"learning_rate": 3e-3}},
        "tuning": {"search": "none"},
    },
    "budgets": {
        "methods": QUESTIONED[:-1],
        "rows": tuple({"federated": {"budgets": each}} for each in ((4,), (1, 1, 2, 2, 3, 4))),
    },
    "ablations": {"rows": ({}, *ABLATIONS)},
    "other_scores": {
        "bases": ("evidence", *(f"evidence:{name}" for name in FEDERATIONS)),
        "rows": ({}, *({"importance": {"score": name}} for name in ("grasp", "magnitude"))),
    },
    "weak_start": {
        "methods": QUESTIONED,
        "settings": {"model": {"weights": "runs/text_start"}},
    },
    "relative": {
        "methods": ("f3ocus", "lntk"),
        "settings": {"importance": {"relative": True}},
    },
    "fidelity": {
        "seeds": (0, 1, 2),
        "methods": ("f3ocus", "lntk", "fd"),
        "rows": ({}, *FIDELITY),
        "tuning": {"search": "none"},
    },
    "intervals": {
        "seeds": (0, 1, 2),
        "grid": {"importance": {"every": (1, 3, 1000)}},
        "tuning": {"search": "none"},
    },
    "searches": {
        "rows": (
            *({"selection": {"algorithm": name}} for name in SEARCHES[1:]),
            *({"selection": {"algorithm": name, "variant": "published"}} for name in SEARCHES),
            {"selection": {"algorithm": "exact"}},
        )
    },
    "features": {
        "methods": ("f3ocus", "fd", "last_k"),
        "seeds": (0,),
        "settings": {"evaluation": {"every": 2, "features": 60}},
    },
    "albef": {"bases": ("evidence:albef",), "methods": QUESTIONED},
    "tiny": {
        "bases": ("evidence:tiny",),
        "methods": ("f3ocus", "fd"),
        "seeds": (0, 1),
        "settings": {"federated": {"rounds": 2}},
    },
}
"""Name to the settings of its sweep that differ from those of `get_config`."""


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Returns the sweep of a variant."""
    if variant not in VARIANTS:
        raise presets.unknown_variant(variant, tuple(VARIANTS))
    sweep = defaults(SweepConfig)
    sweep.bases = ("evidence",)
    sweep.seeds = (0, 1, 2, 3, 4)
    sweep.settings = {"evaluation": {"every": 2}, "data": {"manual_dir": ""}}
    sweep.tuning.search = "grid"
    sweep.tuning.values = {"training": {"learning_rate": (3e-4, 1e-3, 3e-3)}}
    for name, value in VARIANTS[variant].items():
        if name in ("settings", "tuning"):
            sweep[name].update(value)
        else:
            sweep[name] = value
    return sweep
