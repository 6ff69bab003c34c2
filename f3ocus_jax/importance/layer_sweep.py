"""One sweep over all layers, which pulls the cotangents of all outputs back through the network."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from f3ocus_jax.importance.eigenproblem import Eigenproblem, NeighbourStart

Result = TypeVar("Result")

Visit = Callable[[NeighbourStart, jax.Array, jax.Array], tuple[NeighbourStart, Result]]
"""(start vectors from the layer above, layer, cotangents of the layer's output for every output of
the network, [C', N, ...], of which those beyond C are 0) -> (start vectors for the layer below,
result)."""


def sweep_layers(problem: Eigenproblem, visit: Visit[Result]) -> Result:
    """Pulls the cotangents of all outputs back through the network and visits every layer.

    Args:
      problem: Eigenproblem of the network.
      visit: Computes the result of one layer.

    Returns:
      Results of all layers, with a leading axis L.
    """
    linearised = problem.linearised

    def step(state: tuple[Any, Any], layer: jax.Array) -> tuple[tuple[Any, Any], Result]:
        neighbour, pulled = state
        neighbour, result = visit(neighbour, layer, pulled)

        def pull(pulled: jax.Array) -> jax.Array:
            return map_in_chunks(
                problem, lambda one: linearised.pull_through_block(layer, one), pulled
            )

        pulled = jax.lax.cond(layer > 0, pull, lambda pulled: pulled, pulled)
        return (neighbour, pulled), result

    pulled = map_in_chunks(
        problem, lambda index: pull_output(problem, index), jnp.arange(padded_count(problem))
    )
    state = (problem.no_neighbour, pulled)
    return jax.lax.scan(step, state, problem.layers, reverse=True)[1]


def pull_output(problem: Eigenproblem, index: jax.Array) -> jax.Array:
    """Pulls one output of every example back to the last block; 0 for an index beyond C."""
    one_NC = jnp.zeros_like(problem.mask_NC).at[:, index].set(1.0, mode="drop")
    return problem.linearised.pull_through_readout(problem.shaped(one_NC))


def padded_count(problem: Eigenproblem) -> int:
    """Returns C', the number of outputs filled up to whole chunks of equal size."""
    count = problem.mask_NC.shape[1]
    chunks = -(-count // problem.vectors_at_once)
    return chunks * -(-count // chunks)


def map_in_chunks(
    problem: Eigenproblem, function: Callable[[jax.Array], jax.Array], items: jax.Array
) -> Any:
    """Maps a function over items, as many at once as the memory allows."""
    count = len(items)
    chunks = -(-problem.mask_NC.shape[1] // problem.vectors_at_once)
    if chunks == 1:
        return jax.vmap(function)(items)
    return jax.lax.map(function, items, batch_size=count // chunks)
