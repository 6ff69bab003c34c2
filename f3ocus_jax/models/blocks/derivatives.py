"""How a layer's derivative is kept as data, so that a loop can store it and call it later.

`jax.vjp` and `jax.linearize` return functions that are pytrees: their leaves are the residuals of
the forward pass. Some of these leaves are the layer's own weights, which the caller has anyway;
storing them for every layer would copy the whole model. `split_residuals` leaves them out.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax

Residuals: TypeAlias = list[jax.Array]
Rebuild: TypeAlias = Callable[[Residuals, Any], Callable[..., Any]]


def split_residuals(derivative: Callable[..., Any], inputs: Any) -> tuple[Residuals, Rebuild]:
    """Separates what a derivative keeps of its own from what it shares with its inputs.

    Args:
      derivative: what `jax.vjp` or `jax.linearize` returned in the current trace.
      inputs: pytree of arrays that the caller can hand in again; a residual that is one of these
        very arrays is not returned.

    Returns:
      (residuals, rebuild): the derivative's own arrays, and a function that takes them and the
      same `inputs` (from this or a later trace) and gives the derivative back.
    """
    leaves, treedef = jax.tree.flatten(derivative)
    given = {id(leaf): place for place, leaf in enumerate(jax.tree.leaves(inputs))}
    places = [given.get(id(leaf)) for leaf in leaves]

    def rebuild(residuals: Residuals, inputs: Any) -> Callable[..., Any]:
        own, shared = iter(residuals), jax.tree.leaves(inputs)
        merged = [next(own) if place is None else shared[place] for place in places]
        return jax.tree.unflatten(treedef, merged)

    own = [leaf for leaf, place in zip(leaves, places, strict=True) if place is None]
    return own, rebuild
