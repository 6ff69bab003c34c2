"""Supported front by convex-cost flows on a graph of L nodes.

With all budgets used, Σ_l n_l is constant, and so the variance is Σ_l n_l² / L minus a constant.
Let an arc a → b cost the least importance that moving one pick from layer a to layer b loses,
over all clients. A choice is best for importance − λ Σ_l n_l² exactly if no path from a layer s
to a layer t costs less than what the evener histogram gains, 2 λ (n_s − n_t − 1). From the
clients' own choice (λ = 0) on, the path with the least λ at which it pays is taken again and
again, which visits every supported point in order of λ (successive shortest paths, Ahuja,
Magnanti, Orlin: Network Flows, 1993, chapters 9 and 14).

The least λ is a ratio; it is found by Dinkelbach's iteration (Management Science 13, 1967) around
a Bellman-Ford from all layers at once. All of it runs in float64.

The clients stand in G groups of C, each about √K, and every arc knows the cheapest client of every
group, so that a moved pick costs one pass over its client's group and one over the groups.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.selection.problem import Bounds

TINY = 1e-13
"""Smallest price that differs from zero; the scores of a client sum to about 1."""


class Moves(NamedTuple):
    """Moves along the supported front, to the N points after its start.

    Attributes:
      prices_N: float64, smallest λ at which each point is best.
      ends_N: int32, number of arcs to walk from the start to each point.
      clients_A: int32, client that moves a pick along each arc.
      sources_A: int32, layer that the client drops.
      targets_A: int32, layer that the client takes instead.
    """

    prices_N: np.ndarray
    ends_N: np.ndarray
    clients_A: np.ndarray
    sources_A: np.ndarray
    targets_A: np.ndarray


class _Graph(NamedTuple):
    """Picks, costs of every arc per group and overall, and the logs of this call."""

    mask_GLC: jax.Array
    histogram_L: jax.Array
    group_cost_LLG: jax.Array
    cost_LL: jax.Array
    prices_N: jax.Array
    ends_N: jax.Array
    arcs_A3: jax.Array
    points: jax.Array
    arcs: jax.Array
    finished: jax.Array


class _Tree(NamedTuple):
    """Shortest paths from all layers at once, at one price."""

    distance_L: jax.Array
    round_L: jax.Array
    rounds: jax.Array
    changed: jax.Array


def supported_moves(
    scores_KL: np.ndarray, mask_KL: np.ndarray, bounds: Bounds | None = None, *, chunk: int = 2048
) -> Moves:
    """Walks along the supported front from its most important end to its evenest.

    Args:
      scores_KL: float, finite; minus infinity where a client may not train a layer.
      mask_KL: bool, the most important choice.
      bounds: Bounds on the number of clients per layer; None for no bounds.
      chunk: Number of points found per call. It sets the length of the logs: `chunk` points and
        8 × `chunk` + L arcs.

    Returns:
      The moves from that choice to every other supported point, in order.
    """
    parts = []
    clients, layers = np.shape(mask_KL)
    with jax.enable_x64(True):
        scores_GLC = jnp.asarray(_grouped(np.asarray(scores_KL, np.float64)))
        graph = _start(scores_GLC, jnp.asarray(_grouped(np.asarray(mask_KL))), chunk)
        if bounds is None:
            bounds = Bounds(jnp.zeros(layers, jnp.int32), jnp.full(layers, clients, jnp.int32))
        while not graph.finished:
            graph = graph._replace(points=jnp.int32(0), arcs=jnp.int32(0))
            graph = _walk(scores_GLC, bounds, graph)
            points, arcs = int(graph.points), int(graph.arcs)
            logs = graph.prices_N[:points], graph.ends_N[:points], graph.arcs_A3[:arcs]
            parts.append([np.asarray(log) for log in logs])
    walked = np.cumsum([0] + [len(arcs_A3) for *_, arcs_A3 in parts])
    prices_N, ends_N, arcs_A3 = zip(*parts, strict=True)
    shifted_N = [part_N + offset for part_N, offset in zip(ends_N, walked[:-1], strict=True)]
    return Moves(np.concatenate(prices_N), np.concatenate(shifted_N), *np.concatenate(arcs_A3).T)


def _grouped(values_KL: np.ndarray) -> np.ndarray:
    """Arranges clients in groups, [G, L, C], the last one padded with zeros."""
    clients, layers = values_KL.shape
    size = math.isqrt(clients - 1) + 1
    groups = -(-clients // size)
    padded_KL = np.pad(values_KL, ((0, groups * size - clients), (0, 0)))
    return np.moveaxis(padded_KL.reshape(groups, size, layers), 1, 2)


@functools.partial(jax.jit, static_argnames="chunk")
def _start(scores_GLC: jax.Array, mask_GLC: jax.Array, chunk: int) -> _Graph:
    """Computes the cost of every arc in every group."""
    layers = scores_GLC.shape[1]

    def costs(group: tuple[jax.Array, jax.Array]) -> jax.Array:
        scores_LC, mask_LC = group
        return jax.lax.map(
            lambda source: jnp.min(_losses(scores_LC, mask_LC, source), axis=1), jnp.arange(layers)
        )

    group_cost_GLL = jax.lax.map(costs, (scores_GLC, mask_GLC))
    return _Graph(
        mask_GLC,
        jnp.sum(mask_GLC, axis=(0, 2), dtype=jnp.int32),
        jnp.moveaxis(group_cost_GLL, 0, 2),
        jnp.min(group_cost_GLL, axis=0),
        jnp.zeros(chunk),
        jnp.zeros(chunk, jnp.int32),
        jnp.zeros((8 * chunk + layers, 3), jnp.int32),
        jnp.int32(0),
        jnp.int32(0),
        jnp.bool_(False),
    )


def _losses(scores_LC: jax.Array, mask_LC: jax.Array, source: jax.Array) -> jax.Array:
    """Returns the loss of each client of a group for moving a pick from a layer to every other.

    Returns:
      [L, C], infinite where a client cannot.
    """
    able_LC = mask_LC[source][None] & ~mask_LC
    return jnp.where(able_LC, scores_LC[source][None] - scores_LC, jnp.inf)


@jax.jit
def _walk(scores_GLC: jax.Array, bounds: Bounds, graph: _Graph) -> _Graph:
    """Takes paths until the front ends or a log is full."""
    layers = scores_GLC.shape[1]

    def more(graph: _Graph) -> jax.Array:
        room = (graph.points < len(graph.prices_N)) & (graph.arcs + layers < len(graph.arcs_A3))
        return room & ~graph.finished

    return jax.lax.while_loop(more, functools.partial(_take_path, scores_GLC, bounds), graph)


def _take_path(scores_GLC: jax.Array, bounds: Bounds, graph: _Graph) -> _Graph:
    """Moves one pick along the path that pays at the smallest price, if any path pays."""
    price, tree, target = _least_price(graph.cost_LL, graph.histogram_L, bounds)
    found = jnp.isfinite(price)
    first = graph.arcs

    def log_arc(carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple:
        arcs_A3, arcs, node = carry
        source = _previous(graph.cost_LL, tree, node)
        arc_3 = jnp.stack([_cheapest(scores_GLC, graph, source, node), source, node])
        return arcs_A3.at[arcs].set(arc_3.astype(jnp.int32)), arcs + 1, source

    def at_root(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        return found & (tree.round_L[carry[2]] > 0)

    arcs_A3, arcs, source = jax.lax.while_loop(
        at_root, log_arc, (graph.arcs_A3, graph.arcs, target)
    )
    graph = jax.lax.fori_loop(
        first,
        arcs,
        lambda arc, graph: _move(scores_GLC, graph, arcs_A3[arc]),
        graph._replace(arcs_A3=arcs_A3, arcs=arcs),
    )
    step = found.astype(jnp.int32)
    return graph._replace(
        histogram_L=graph.histogram_L.at[source].add(-step).at[target].add(step),
        prices_N=graph.prices_N.at[graph.points].set(price),
        ends_N=graph.ends_N.at[graph.points].set(graph.arcs),
        points=graph.points + step,
        finished=~found,
    )


def _cheapest(
    scores_GLC: jax.Array, graph: _Graph, source: jax.Array, target: jax.Array
) -> jax.Array:
    """Returns the client that loses least by moving a pick."""
    group = jnp.argmin(graph.group_cost_LLG[source, target])
    scores_LC, mask_LC = scores_GLC[group], graph.mask_GLC[group]
    able_C = mask_LC[source] & ~mask_LC[target]
    loss_C = jnp.where(able_C, scores_LC[source] - scores_LC[target], jnp.inf)
    return group * len(loss_C) + jnp.argmin(loss_C)


def _least_price(
    cost_LL: jax.Array, counts_L: jax.Array, bounds: Bounds
) -> tuple[jax.Array, _Tree, jax.Array]:
    """Finds the smallest price at which a path pays.

    Returns:
      (price, infinite if no path ever pays; shortest paths at that price; the path's last layer).
    """
    histogram_L = counts_L.astype(jnp.float64)
    source_L, target_L = counts_L > bounds.least_L, counts_L < bounds.most_L
    gain_LL = 2.0 * (histogram_L[:, None] - histogram_L[None] - 1.0)
    finite_LL = jnp.isfinite(cost_LL)
    ceiling = 1.0 + len(histogram_L) * jnp.max(jnp.where(finite_LL, jnp.abs(cost_LL), 0.0))
    open_LL = finite_LL & (gain_LL > 0) & source_L[:, None] & target_L[None]
    direct = jnp.min(jnp.where(open_LL, cost_LL / gain_LL, ceiling))

    def improve(carry: tuple) -> tuple:
        price, *_ = carry
        # A hair above the price, a path that pays at it has a negative length, and one that leads
        # back where the last came from has not.
        raised = jnp.maximum(price, TINY) * (1.0 + 1e-10)
        first_L = jnp.where(source_L, -2.0 * raised * histogram_L, jnp.inf)
        tree = _shortest(cost_LL, first_L)
        length_L = tree.distance_L + 2.0 * raised * (histogram_L + 1.0)
        length_L = jnp.where((tree.round_L > 0) & target_L, length_L, jnp.inf)
        target = jnp.argmin(length_L)
        source = jax.lax.while_loop(
            lambda node: tree.round_L[node] > 0,
            lambda node: _previous(cost_LL, tree, node),
            target,
        )
        cost = tree.distance_L[target] + 2.0 * raised * histogram_L[source]
        ratio = cost / (2.0 * (histogram_L[source] - histogram_L[target] - 1.0))
        ratio = jnp.where(length_L[target] < 0, ratio, jnp.inf)
        return ratio, tree, target, ratio < price * (1.0 - 1e-12)

    first = improve((direct,))
    return jax.lax.while_loop(lambda carry: carry[3], improve, first)[:3]


def _shortest(cost_LL: jax.Array, first_L: jax.Array) -> _Tree:
    """Runs Bellman-Ford from every layer at once, each at its own first distance."""

    def relax(tree: _Tree) -> _Tree:
        offer_L = jnp.min(tree.distance_L[:, None] + cost_LL, axis=0)
        shorter_L = offer_L < tree.distance_L
        rounds = tree.rounds + 1
        return _Tree(
            jnp.minimum(offer_L, tree.distance_L),
            jnp.where(shorter_L, rounds, tree.round_L),
            rounds,
            jnp.any(shorter_L) & (rounds <= len(first_L)),
        )

    zeros_L = jnp.zeros(len(first_L), jnp.int32)
    start = _Tree(first_L, zeros_L, jnp.int32(0), jnp.bool_(True))
    return jax.lax.while_loop(lambda tree: tree.changed, relax, start)


def _previous(cost_LL: jax.Array, tree: _Tree, node: jax.Array) -> jax.Array:
    """Returns the previous layer on a shortest path; rounds prevent cycles among ties."""
    excess_L = jnp.abs(tree.distance_L + cost_LL[:, node] - tree.distance_L[node])
    return jnp.argmin(jnp.where(tree.round_L < tree.round_L[node], excess_L, jnp.inf))


def _move(scores_GLC: jax.Array, graph: _Graph, arc_3: jax.Array) -> _Graph:
    """Moves a client's pick and updates the arcs out of and into the two layers."""
    client, source, target = arc_3
    size = scores_GLC.shape[2]
    group, member = client // size, client % size
    mask_LC = graph.mask_GLC[group].at[source, member].set(False).at[target, member].set(True)
    scores_LC = scores_GLC[group]
    # Arcs out of `source` and into `target` may have lost the client that was cheapest. What leads
    # into a layer leads out of it where picks and scores change their signs.
    lost_2L = jnp.stack(
        [
            jnp.min(_losses(scores_LC, mask_LC, source), axis=1),
            jnp.min(_losses(-scores_LC, ~mask_LC, target), axis=1),
        ]
    )
    old_LLG = graph.group_cost_LLG
    rows_2LG = jnp.stack([old_LLG[source], old_LLG[:, target]]).at[:, :, group].set(lost_2L)
    least_2L = jnp.min(rows_2LG, axis=2)
    # Arcs out of `target` and into `source` may have won the client that moved.
    scores_L, row_L = scores_LC[:, member], mask_LC[:, member]
    from_L = jnp.where(row_L, jnp.inf, scores_L[target] - scores_L)
    into_L = jnp.where(row_L, scores_L - scores_L[source], jnp.inf)
    # The writes must wait for the reads, else XLA copies all costs at every move. None is NaN.
    late = jnp.where(jnp.isnan(least_2L[0, 0]), 0, group)
    cost_LL = graph.cost_LL.at[source].set(least_2L[0]).at[:, target].set(least_2L[1])
    group_cost_LLG = old_LLG.at[source, :, late].set(lost_2L[0])
    group_cost_LLG = group_cost_LLG.at[:, target, late].set(lost_2L[1])
    return graph._replace(
        mask_GLC=graph.mask_GLC.at[late].set(mask_LC),
        group_cost_LLG=group_cost_LLG.at[target, :, late]
        .min(from_L)
        .at[:, source, late]
        .min(into_L),
        cost_LL=cost_LL.at[target].min(from_L).at[:, source].min(into_L),
    )
