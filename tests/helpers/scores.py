"""Importance scores as the tests make them, with tight tolerances and few steps."""

from typing import Any

import optax

from f3ocus_jax.importance import SCORES, Score, ScoreContext
from f3ocus_jax.models.base import Model

CONTEXT: dict[str, Any] = {
    "unit": "adapter",
    "loss": "cross_entropy",
    "optimizer": optax.adamw(1e-2),
    "reduction": "sum",
    "probe_batches": 2,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "lntk": {"memory_limit": 2**30, "tolerance": 1e-5, "max_iterations": 40},
    "spt": {"share": 0.1},
    "fedselect": {"steps": 3},
}


def make_score(name: str, model: Model, **changes: Any) -> Score:
    """A score of the registry; `changes` are of the context, or else of the score's options."""
    component = SCORES[name]
    context = CONTEXT | {key: changes.pop(key) for key in [*changes] if key in CONTEXT}
    options = OPTIONS.get(name, {}) | changes
    made = component.options(**options) if component.options else None
    assert made is not None or not options
    return component.build(ScoreContext(model=model, **context), options=made)
