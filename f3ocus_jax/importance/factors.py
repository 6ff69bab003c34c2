"""Which parameters of a block are linear maps, what do they receive, and what is their gradient?

The gradient of a linear map's weights is Σ_t a_t δ_tᵀ, from what it received and the gradient of
what it gave. The inner product of two such gradients is Σ_tt' (a_t·a'_t')(δ_t·δ'_t'), so that a
Gram matrix needs none of them (Goodfellow, 2015; Rochette, Manoel and Tramel, 2019, for sequences).
The maps are found in the trace of the block: any matrix product of data with one of its parameters.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import struct
from jax.extend import core

from f3ocus_jax.types import Rows

OnMap: TypeAlias = Callable[[int, core.JaxprEqn, list[Any], bool], Any]
"""(leaf, equation, its inputs, whether the weights come second) -> the product."""

INLINED = ("jit", "pjit")


@struct.dataclass
class Factors:
    """The gradients of one block's parameters, of C cotangents on one example.

    Attributes:
      received: activations of every linear map, [T, in] each.
      given: gradients of what it gave, [C, T, out] each.
      others_CP: gradients of all other parameters.
    """

    received: list[jax.Array]
    given: list[jax.Array]
    others_CP: jax.Array


def factors(function: Callable[[Rows], jax.Array], row: Rows, cotangents_C: jax.Array) -> Factors:
    """Differentiates a function of a block's parameters without forming its weights' gradients.

    Args:
      function: row -> output.
      row: the parameters.
      cotangents_C: cotangents of the output, leading axis C.

    Returns:
      Their gradients in factors.
    """
    leaves, treedef = jax.tree.flatten(row)
    closed = jax.make_jaxpr(lambda leaves: function(jax.tree.unflatten(treedef, leaves)))(leaves)
    mapped = _linear_maps(closed, leaves)
    other = [leaf for leaf in range(len(leaves)) if leaf not in mapped]
    shapes = jax.eval_shape(lambda: _run(closed, leaves, mapped, None)[1])
    nothing = [jnp.zeros(given.shape, given.dtype) for _, given in shapes]

    def run(added: list[jax.Array], others: list[jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
        filled = list(leaves)
        for place, value in zip(other, others, strict=True):
            filled[place] = value
        value, seen = _run(closed, filled, mapped, added)
        return value, [received for received, _ in seen]

    _, pull, received = jax.vjp(run, nothing, [leaves[leaf] for leaf in other], has_aux=True)
    given, others = jax.vmap(pull)(cotangents_C)
    flat = [leaf.reshape(len(cotangents_C), -1) for leaf in others]
    empty = jnp.zeros((len(cotangents_C), 0), jnp.float32)
    return Factors(received, given, jnp.concatenate([empty, *flat], axis=1))


def _linear_maps(closed: core.ClosedJaxpr, leaves: Sequence[Any]) -> list[int]:
    """Returns the leaves that are used once, as the weights of a matrix product with data."""
    uses: Counter[int] = Counter()
    maps: Counter[int] = Counter()

    def on_map(leaf: int, equation: core.JaxprEqn, values: list[Any], _: bool) -> Any:
        maps[leaf] += 1
        return equation.primitive.bind(*values, **equation.params)

    def run(leaves: Sequence[Any]) -> Any:
        return _evaluate(closed.jaxpr, closed.consts, leaves, range(len(leaves)), on_map, uses)

    jax.eval_shape(run, leaves)
    return [leaf for leaf in range(len(leaves)) if (uses[leaf], maps[leaf]) == (1, 1)]


def _run(
    closed: core.ClosedJaxpr,
    leaves: Sequence[Any],
    mapped: Sequence[int],
    added: Sequence[jax.Array] | None,
) -> tuple[jax.Array, list[tuple[jax.Array, jax.Array]]]:
    """Evaluates a trace; adds to what its linear maps give, and tells what they receive."""
    seen: dict[int, tuple[jax.Array, jax.Array]] = {}

    def on_map(leaf: int, equation: core.JaxprEqn, values: list[Any], second: bool) -> Any:
        product = equation.primitive.bind(*values, **equation.params)
        if leaf not in mapped:
            return product
        received, axes = _received(equation, values, second)
        given = jnp.moveaxis(product, axes, range(len(axes)))
        shape, rows = given.shape, received.shape[0]
        given = given.reshape(rows, -1)
        if added is not None:
            given = given + added[mapped.index(leaf)]
        seen[leaf] = (received, given)
        return jnp.moveaxis(given.reshape(shape), range(len(axes)), axes)

    labels = range(len(leaves))
    (value,) = _evaluate(closed.jaxpr, closed.consts, leaves, labels, on_map, Counter())
    return value, [seen[leaf] for leaf in mapped]


def _received(
    equation: core.JaxprEqn, values: list[Any], second: bool
) -> tuple[jax.Array, tuple[int, ...]]:
    """Returns a product's data as [T, in], and the axes of the product that T is made of."""
    contracted, _ = equation.params["dimension_numbers"]
    data, weights = values if second else reversed(values)
    summed = contracted[0 if second else 1]
    data = jnp.moveaxis(data, summed, range(-len(summed), 0))
    kept = data.ndim - len(summed)
    first = 0 if second else weights.ndim - len(summed)
    size = math.prod(data.shape[kept:])
    return data.reshape(-1, size), tuple(range(first, first + kept))


def _evaluate(
    jaxpr: core.Jaxpr,
    consts: Sequence[Any],
    inputs: Sequence[Any],
    labels: Sequence[int | None],
    on_map: OnMap,
    uses: Counter[int],
) -> list[Any]:
    """Evaluates a trace and hands out the matrix products of data with labelled inputs.

    Args:
      jaxpr: the trace.
      consts: its constants.
      inputs: its inputs.
      labels: one per input, None for data.
      on_map: evaluates such a product.
      uses: counts every use of a labelled input.
    """
    environment = dict(zip(jaxpr.constvars, consts, strict=True))
    environment.update(zip(jaxpr.invars, inputs, strict=True))
    label_of = {
        var: label for var, label in zip(jaxpr.invars, labels, strict=True) if label is not None
    }

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else environment[atom]

    for equation in jaxpr.eqns:
        values = [read(atom) for atom in equation.invars]
        found = [None if isinstance(a, core.Literal) else label_of.get(a) for a in equation.invars]
        name, used = equation.primitive.name, [label for label in found if label is not None]
        if name in INLINED:
            inner = equation.params["jaxpr"]
            results = _evaluate(inner.jaxpr, inner.consts, values, found, on_map, uses)
        else:
            uses.update(used)
            if name == "dot_general" and len(used) == 1 and not _batched(equation):
                results = [on_map(used[0], equation, values, found[1] is not None)]
            else:
                params = equation.primitive.get_bind_params(equation.params)
                results = equation.primitive.bind(*values, **params)
                results = results if equation.primitive.multiple_results else [results]
        environment.update(zip(equation.outvars, results, strict=True))
    uses.update(
        label_of[out]
        for out in jaxpr.outvars
        if not isinstance(out, core.Literal) and out in label_of
    )
    return [read(out) for out in jaxpr.outvars]


def _batched(equation: core.JaxprEqn) -> bool:
    _, (batch, _) = equation.params["dimension_numbers"]
    return len(batch) > 0


def gram_of_map(received: jax.Array, given: jax.Array, *, explicit: bool) -> jax.Array:
    """Returns the inner products of a linear map's gradients.

    Args:
      received: activations, [N, T, in].
      given: gradients of what it gave, [N, C, T, out].
      explicit: whether the gradients themselves are formed.

    Returns:
      [N·C, N·C].
    """
    examples, cotangents = given.shape[:2]
    if explicit:
        flat = gradient_of_map(received, given)
        return flat @ flat.T

    def row(one: tuple[jax.Array, jax.Array]) -> jax.Array:
        activations_TMS = jnp.einsum("ti,msi->tms", one[0], received)
        gradients_CTMDS = jnp.einsum("cto,mdso->ctmds", one[1], given)
        return jnp.einsum("tms,ctmds->cmd", activations_TMS, gradients_CTMDS)

    rows_NCMD = jax.lax.map(row, (received, given))
    return rows_NCMD.reshape(examples * cotangents, -1)


def gradient_of_map(received: jax.Array, given: jax.Array) -> jax.Array:
    """Returns a linear map's gradients, [N·C, in·out]; arguments as for `gram_of_map`."""
    gradients = jnp.einsum("nti,ncto->ncio", received, given)
    return gradients.reshape(given.shape[0] * given.shape[1], -1)
