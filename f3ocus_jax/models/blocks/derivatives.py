"""A layer's derivative as arrays that a loop can store and turn back into a function.

`jax.vjp` and `jax.linearize` return functions that are pytrees. Their leaves are the residuals of
the forward pass. Some of these leaves are the layer's own weights, which the caller has anyway:
storing them for every layer would copy the whole model. `split_residuals` leaves them out.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax

Residuals: TypeAlias = list[jax.Array]
Rebuild: TypeAlias = Callable[[Residuals, Any], Callable[..., Any]]


def split_residuals(derivative: Callable[..., Any], inputs: Any) -> tuple[Residuals, Rebuild]:
    """Separates the residuals of a derivative from the arrays that it shares with its inputs.

    Args:
      derivative: Function that `jax.vjp` or `jax.linearize` returned in the current trace.
      inputs: Pytree of arrays that the caller can pass again. A residual that is one of these
        very arrays is not returned.

    Returns:
      (residuals, rebuild): the derivative's own arrays, and a function that maps them and the
      same `inputs`, from this or a later trace, to the derivative.
    """
    leaves, treedef = jax.tree.flatten(derivative)
    known = {id(leaf): index for index, leaf in enumerate(jax.tree.leaves(inputs))}
    sources = [known.get(id(leaf)) for leaf in leaves]

    def rebuild(residuals: Residuals, inputs: Any) -> Callable[..., Any]:
        own, shared = iter(residuals), jax.tree.leaves(inputs)
        merged = [next(own) if index is None else shared[index] for index in sources]
        return jax.tree.unflatten(treedef, merged)

    own = [leaf for leaf, index in zip(leaves, sources, strict=True) if index is None]
    return own, rebuild
