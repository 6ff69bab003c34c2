"""Options of every importance score, for tests that go through the registry."""

from typing import Any

import optax

SCORE_OPTIONS: dict[str, Any] = {
    "loss": "cross_entropy",
    "optimizer": optax.adamw(1e-2),
    "reduction": "sum",
    "probe_batches": 2,
    "kernel": "outputs",
    "method": "auto",
    "memory_limit": 2**30,
    "tolerance": 1e-5,
    "max_iterations": 30,
    "spt_share": 0.1,
    "fedselect_steps": 3,
}
