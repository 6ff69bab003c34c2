"""Gradients of a block's linear maps in factors: activations and output gradients.

The gradient of a linear map's weights is Σ_t a_t δ_tᵀ, with its activations a and the gradients δ
of its outputs. The inner product of two such gradients is Σ_tt' (a_t·a'_t')(δ_t·δ'_t'), so that a
Gram matrix needs no gradient (Goodfellow, 2015; Rochette, Manoel and Tramel, 2019, for sequences).
The maps are found in the trace of the block: each matrix product of data with one parameter.
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
"""(leaf, equation, its inputs, True if the weights are its second input) -> product."""

INLINED = ("jit", "pjit")
"""Primitives whose inner trace is evaluated in place."""


@struct.dataclass
class Factors:
    """Gradients of one block's parameters in factors, for C cotangents on one example.

    Attributes:
      activations: Input of every linear map, [T, in] each.
      output_gradients: Gradients of the output of every linear map, [C, T, out] each.
      others_CP: Gradients of all other parameters.
    """

    activations: list[jax.Array]
    output_gradients: list[jax.Array]
    others_CP: jax.Array


def factor_gradients(
    function: Callable[[Rows], jax.Array], row: Rows, cotangents_C: jax.Array
) -> Factors:
    """Differentiates a function of a block's parameters without forming its weights' gradients.

    Args:
      function: Maps a row to the block's output.
      row: Parameters of the block.
      cotangents_C: Cotangents of the output, leading axis C.

    Returns:
      The gradients in factors.
    """
    leaves, treedef = jax.tree.flatten(row)
    closed = jax.make_jaxpr(lambda leaves: function(jax.tree.unflatten(treedef, leaves)))(leaves)
    mapped = _linear_maps(closed, leaves)
    other = [leaf for leaf in range(len(leaves)) if leaf not in mapped]
    shapes = jax.eval_shape(lambda: _run(closed, leaves, mapped, None)[1])
    zeros = [jnp.zeros(output.shape, output.dtype) for _, output in shapes]

    def run(added: list[jax.Array], others: list[jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
        filled = list(leaves)
        for index, value in zip(other, others, strict=True):
            filled[index] = value
        value, maps = _run(closed, filled, mapped, added)
        return value, [inputs for inputs, _ in maps]

    _, pull, activations = jax.vjp(run, zeros, [leaves[leaf] for leaf in other], has_aux=True)
    output_gradients, others = jax.vmap(pull)(cotangents_C)
    flat = [leaf.reshape(len(cotangents_C), -1) for leaf in others]
    empty = jnp.zeros((len(cotangents_C), 0), jnp.float32)
    return Factors(activations, output_gradients, jnp.concatenate([empty, *flat], axis=1))


def _linear_maps(closed: core.ClosedJaxpr, leaves: Sequence[Any]) -> list[int]:
    """Returns the leaves whose only use is as the weights of a matrix product with data."""
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
    """Evaluates a trace, adds to the outputs of its linear maps, and returns their (in, out)."""
    maps: dict[int, tuple[jax.Array, jax.Array]] = {}

    def on_map(leaf: int, equation: core.JaxprEqn, values: list[Any], second: bool) -> Any:
        product = equation.primitive.bind(*values, **equation.params)
        if leaf not in mapped:
            return product
        inputs, axes = _inputs(equation, values, second)
        outputs = jnp.moveaxis(product, axes, range(len(axes)))
        shape, rows = outputs.shape, inputs.shape[0]
        outputs = outputs.reshape(rows, -1)
        if added is not None:
            outputs = outputs + added[mapped.index(leaf)]
        maps[leaf] = (inputs, outputs)
        return jnp.moveaxis(outputs.reshape(shape), range(len(axes)), axes)

    labels = range(len(leaves))
    (value,) = _evaluate(closed.jaxpr, closed.consts, leaves, labels, on_map, Counter())
    return value, [maps[leaf] for leaf in mapped]


def _inputs(
    equation: core.JaxprEqn, values: list[Any], second: bool
) -> tuple[jax.Array, tuple[int, ...]]:
    """Returns a product's data as [T, in], and the axes of the product that T consists of."""
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
    """Evaluates a trace, with a callback for the matrix products of data with labelled inputs.

    Args:
      jaxpr: Trace.
      consts: Constants of the trace.
      inputs: Inputs of the trace.
      labels: One label per input, None for data.
      on_map: Evaluates a product of data with a labelled input.
      uses: Counter of every use of a labelled input; updated.
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


def gram_of_linear_map(
    activations: jax.Array, output_gradients: jax.Array, *, explicit: bool
) -> jax.Array:
    """Returns the inner products of a linear map's gradients.

    Args:
      activations: Inputs of the map, [N, T, in].
      output_gradients: Gradients of its outputs, [N, C, T, out].
      explicit: True to form the gradients themselves.

    Returns:
      [N·C, N·C].
    """
    examples, cotangents = output_gradients.shape[:2]
    if explicit:
        flat = gradient_of_linear_map(activations, output_gradients)
        return flat @ flat.T

    def row(one: tuple[jax.Array, jax.Array]) -> jax.Array:
        activations_TMS = jnp.einsum("ti,msi->tms", one[0], activations)
        gradients_CTMDS = jnp.einsum("cto,mdso->ctmds", one[1], output_gradients)
        return jnp.einsum("tms,ctmds->cmd", activations_TMS, gradients_CTMDS)

    rows_NCMD = jax.lax.map(row, (activations, output_gradients))
    return rows_NCMD.reshape(examples * cotangents, -1)


def gradient_of_linear_map(activations: jax.Array, output_gradients: jax.Array) -> jax.Array:
    """Returns a linear map's gradients, [N·C, in·out]; arguments as for `gram_of_linear_map`."""
    gradients = jnp.einsum("nti,ncto->ncio", activations, output_gradients)
    examples, cotangents = output_gradients.shape[:2]
    return gradients.reshape(examples * cotangents, -1)
