"""Costs of a function according to XLA."""

from collections.abc import Callable
from typing import Any

import jax


def xla_flops(function: Callable[..., Any], *args: Any) -> float:
    """The outside oracle: XLA's own count, of the program before it is optimised."""
    return jax.jit(function).lower(*args).cost_analysis()["flops"]
