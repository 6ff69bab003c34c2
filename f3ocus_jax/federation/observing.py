"""Timing and progress of a round's stages, added from outside."""

import time
from collections.abc import Callable
from typing import Any

from f3ocus_jax.federation.round import Stages

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

    Args:
      stages: The five stages.
      notify: Function called when a stage starts and ends.
      number: Round number.
      clients: K.

    Returns:
      (stages with the same results, seconds by name, which fill up as the stages run).
    """
    seconds: dict[str, float] = {}

    def watched(stage: Callable[..., Any], name: str) -> Callable[..., Any]:
        def run(*inputs: Any) -> Any:
            if name not in seconds:
                notify(number, name, 0, clients)
            start = time.perf_counter()
            result = stage(*inputs)
            taken = time.perf_counter() - start
            seconds[name] = round(seconds.get(name, 0.0) + taken, 4)
            notify(number, name, clients, clients)
            return result

        return run

    wrapped = {field: watched(getattr(stages, field), name) for field, name in STAGE_NAMES.items()}
    return Stages(**wrapped), seconds
