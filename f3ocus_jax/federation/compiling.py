"""Time that JAX spends on compiling: tracing, lowering and the compiler, as its monitoring reports.

The three overlap: a function that is traced may compile another one for a constant. A program that
is read from the disk instead of compiled counts as compiled, with the time of the reading.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence

from jax import monitoring

TRACING = "/jax/core/compile/jaxpr_trace_duration"
STEPS = (
    TRACING,
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)
"""Steps of a compilation, as JAX 0.10 to 0.12 name them."""

Span = tuple[float, float]
"""Start and end of a step, in seconds of the same clock."""


@contextlib.contextmanager
def recorded() -> Iterator[list[Span]]:
    """Records the steps of compilations that end in the block.

    Yields:
      Their spans, which fill up as the block runs.
    """
    spans: list[Span] = []

    def ended(event: str, start_time: float, end_time: float, **_: str | int) -> None:
        if event in STEPS:
            spans.append((start_time, end_time))

    monitoring.register_event_time_span_listener(ended)
    try:
        yield spans
    finally:
        monitoring.unregister_event_time_span_listener(ended)


@contextlib.contextmanager
def announced(notify: Callable[[bool], None]) -> Iterator[None]:
    """Announces the compilations of the block, from their second step on.

    Tracing alone is not announced, since a known program may be traced again in a moment.

    Args:
      notify: Function called with True when a compilation starts, and with False when it has ended.
    """
    running: list[str] = []

    def started(event: str, value: float, **_: str | int) -> None:
        del value
        if event in STEPS and event != TRACING:
            running.append(event)
            if len(running) == 1:
                notify(True)

    def ended(event: str, start_time: float, end_time: float, **_: str | int) -> None:
        del start_time, end_time
        if event in running:
            running.remove(event)
            if not running:
                notify(False)

    monitoring.register_scalar_listener(started)
    monitoring.register_event_time_span_listener(ended)
    try:
        yield
    finally:
        monitoring.unregister_scalar_listener(started)
        monitoring.unregister_event_time_span_listener(ended)


def total_seconds(spans: Sequence[Span]) -> float:
    """Returns the time that spans cover, each moment once.

    >>> total_seconds([(2.0, 3.0), (1.0, 4.0), (6.0, 7.5)])
    4.5
    """
    total, reached = 0.0, -math.inf
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
