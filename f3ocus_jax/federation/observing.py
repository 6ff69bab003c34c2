"""Timing, progress and marks in a profile of a round's stages, added from outside.

Compiling is timed apart.
"""

import time
from collections.abc import Callable
from typing import Any

import jax

from f3ocus_jax.federation import compiling
from f3ocus_jax.federation.round import Stages
from f3ocus_jax.types import COMPILING

Notify = Callable[[int, str, int, int], None]
"""(round, stage, clients finished in it, clients in all); see `progress.Display`."""

STAGE_NAMES = {
    "score": "importance",
    "select": "selection",
    "train": "training",
    "aggregate": "training",
    "evaluate": "evaluation",
}
"""Field of `Stages` to the name under which it is shown and timed."""


def observe(
    stages: Stages, notify: Notify, number: int, clients: int
) -> tuple[Stages, dict[str, float]]:
    """Wraps the stages of one round so that each reports its start, its end and its wall time.

    What a stage compiles is no part of its time, so that rounds can be compared.

    Args:
      stages: The five stages.
      notify: Function called when a stage starts and ends.
      number: Round number.
      clients: K.

    Returns:
      (stages with the same results; seconds by name, and of what each compiled by `COMPILING` and
      name, which fill up as the stages run).
    """
    seconds: dict[str, float] = {}

    def add(name: str, taken: float) -> None:
        seconds[name] = round(seconds.get(name, 0.0) + taken, 4)

    def watched(field: str, name: str) -> Callable[..., Any]:
        stage = getattr(stages, field)

        def run(*inputs: Any) -> Any:
            if name not in seconds:
                notify(number, name, 0, clients)
            start = time.perf_counter()
            with compiling.recorded() as spans, jax.profiler.TraceAnnotation(field):
                result = stage(*inputs)
            taken = time.perf_counter() - start
            compiled = min(taken, compiling.total_seconds(spans))
            add(name, taken - compiled)
            add(COMPILING + name, compiled)
            notify(number, name, clients, clients)
            return result

        return run

    wrapped = {field: watched(field, name) for field, name in STAGE_NAMES.items()}
    return Stages(**wrapped), seconds
