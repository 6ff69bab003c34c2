"""A flax module as two pure functions: one initialises parameters, one applies them."""

from typing import Any

import flax.linen as nn
import jax

from f3ocus_jax.types import Params


def init(module: nn.Module, key: jax.Array, *inputs: Any) -> Params:
    """Returns initial parameters of a module for inputs of these shapes."""
    return module.init(key, *inputs)["params"]


def apply(module: nn.Module, params: Params, *inputs: Any) -> Any:
    """Returns the output of a module without state and randomness."""
    return module.apply({"params": params}, *inputs)
