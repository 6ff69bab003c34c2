"""How is a flax module used as two pure functions, one that draws parameters and one that runs?"""

from typing import Any

import flax.linen as nn
import jax

from f3ocus_jax.types import Params


def init(module: nn.Module, key: jax.Array, *inputs: Any) -> Params:
    """Returns fresh parameters of a module for inputs of these shapes."""
    return module.init(key, *inputs)["params"]


def apply(module: nn.Module, params: Params, *inputs: Any) -> Any:
    """Returns a module's output; it keeps no state and draws nothing."""
    return module.apply({"params": params}, *inputs)
