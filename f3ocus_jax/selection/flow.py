"""What is the whole supported front? Every trade-off is a convex-cost flow on a graph of L nodes.

With all budgets used, Σ_l n_l is constant, and so the variance is Σ_l n_l² / L minus a constant.
Let an arc a → b cost the least importance that moving one pick from layer a to layer b loses,
over all clients. A choice is best for importance − λ Σ_l n_l² exactly if no path from a layer s
to a layer t costs less than what the evener histogram gains, 2 λ (n_s − n_t − 1). From the
clients' own choice (λ = 0) on, the path with the least λ at which it pays is taken again and
again, which visits every supported point in order of λ (successive shortest paths, Ahuja,
Magnanti, Orlin: Network Flows, 1993, chapters 9 and 14).

The least λ is a ratio; it is found by Dinkelbach's iteration (Management Science 13, 1967) around
a Bellman-Ford from all layers at once. All of it runs in float64.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.selection.problem import Bounds

TINY = 1e-13
"""The least price told apart from zero; scores of a client sum to about 1."""


class Moves(NamedTuple):
    """A stretch of the supported front, N points after the one it starts from.

    Attributes:
      prices_N: float64, λ from which on each point is best.
      ends_N: int32, how many of the arcs have to be walked to reach it.
      clients_A: int32, who moves a pick.
      sources_A: int32, the layer given up.
      targets_A: int32, the layer taken instead.
    """

    prices_N: np.ndarray
    ends_N: np.ndarray
    clients_A: np.ndarray
    sources_A: np.ndarray
    targets_A: np.ndarray


class _Graph(NamedTuple):
    """Who picks what, the cheapest client of every arc, and the logs of this call."""

    mask_LK: jax.Array
    histogram_L: jax.Array
    cost_LL: jax.Array
    client_LL: jax.Array
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
      bounds: how many clients may pick a layer; any number if None.
      chunk: how many points are found per call; the logs of a call have this length, and eight
        times that and L more for arcs.

    Returns:
      The moves from there to every other supported point, in order.
    """
    parts = []
    with jax.enable_x64(True):
        scores_LK = jnp.asarray(np.asarray(scores_KL, np.float64).T)
        graph = _start(scores_LK, jnp.asarray(np.asarray(mask_KL).T), chunk)
        clients, layers = np.shape(mask_KL)
        if bounds is None:
            bounds = Bounds(jnp.zeros(layers, jnp.int32), jnp.full(layers, clients, jnp.int32))
        while not graph.finished:
            graph = _walk(scores_LK, bounds, graph._replace(points=jnp.int32(0), arcs=jnp.int32(0)))
            points, arcs = int(graph.points), int(graph.arcs)
            logs = graph.prices_N[:points], graph.ends_N[:points], graph.arcs_A3[:arcs]
            parts.append([np.asarray(log) for log in logs])
    walked = np.cumsum([0] + [len(arcs_A3) for *_, arcs_A3 in parts])
    prices_N, ends_N, arcs_A3 = zip(*parts, strict=True)
    ends_N = [part_N + offset for part_N, offset in zip(ends_N, walked[:-1], strict=True)]
    return Moves(np.concatenate(prices_N), np.concatenate(ends_N), *np.concatenate(arcs_A3).T)


@functools.partial(jax.jit, static_argnames="chunk")
def _start(scores_LK: jax.Array, mask_LK: jax.Array, chunk: int) -> _Graph:
    """Finds the cheapest client of every arc."""
    layers = len(scores_LK)
    every_L = jnp.arange(layers)
    cost_LL, client_LL = jax.lax.map(
        lambda source: _cheapest(scores_LK, mask_LK, jnp.full(layers, source), every_L), every_L
    )
    return _Graph(
        mask_LK,
        jnp.sum(mask_LK, axis=1, dtype=jnp.int32),
        cost_LL,
        client_LL,
        jnp.zeros(chunk),
        jnp.zeros(chunk, jnp.int32),
        jnp.zeros((8 * chunk + layers, 3), jnp.int32),
        jnp.int32(0),
        jnp.int32(0),
        jnp.bool_(False),
    )


def _cheapest(
    scores_LK: jax.Array, mask_LK: jax.Array, sources_A: jax.Array, targets_A: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns cost and client of arcs, infinite where no client can move a pick so."""
    able_AK = mask_LK[sources_A] & ~mask_LK[targets_A]
    loss_AK = jnp.where(able_AK, scores_LK[sources_A] - scores_LK[targets_A], jnp.inf)
    cost_A = jnp.min(loss_AK, axis=1)
    clients = loss_AK.shape[1]
    places_AK = jnp.where(loss_AK == cost_A[:, None], jnp.arange(clients)[None], clients)
    return cost_A, jnp.min(places_AK, axis=1).astype(jnp.int32)


@jax.jit
def _walk(scores_LK: jax.Array, bounds: Bounds, graph: _Graph) -> _Graph:
    """Takes paths until the front ends or a log is full."""
    layers = len(scores_LK)

    def more(graph: _Graph) -> jax.Array:
        room = (graph.points < len(graph.prices_N)) & (graph.arcs + layers < len(graph.arcs_A3))
        return room & ~graph.finished

    return jax.lax.while_loop(more, functools.partial(_take_path, scores_LK, bounds), graph)


def _take_path(scores_LK: jax.Array, bounds: Bounds, graph: _Graph) -> _Graph:
    """Moves one pick along the path that pays at the least price, if one does at any."""
    price, tree, target = _least_price(graph.cost_LL, graph.histogram_L, bounds)
    found = jnp.isfinite(price)
    first = graph.arcs

    def log_arc(carry: tuple[_Graph, jax.Array]) -> tuple[_Graph, jax.Array]:
        graph, node = carry
        source = _previous(graph.cost_LL, tree, node)
        client = graph.client_LL[source, node]
        flips_2K = graph.mask_LK.at[source, client].set(False).at[node, client].set(True)
        arc_3 = jnp.stack([client, source, node]).astype(jnp.int32)
        return graph._replace(
            mask_LK=flips_2K,
            arcs_A3=graph.arcs_A3.at[graph.arcs].set(arc_3),
            arcs=graph.arcs + 1,
        ), source

    def at_root(carry: tuple[_Graph, jax.Array]) -> jax.Array:
        return found & (tree.round_L[carry[1]] > 0)

    graph, source = jax.lax.while_loop(at_root, log_arc, (graph, target))
    graph = jax.lax.fori_loop(
        first, graph.arcs, lambda arc, graph: _refresh(scores_LK, graph, graph.arcs_A3[arc]), graph
    )
    step = found.astype(jnp.int32)
    return graph._replace(
        histogram_L=graph.histogram_L.at[source].add(-step).at[target].add(step),
        prices_N=graph.prices_N.at[graph.points].set(price),
        ends_N=graph.ends_N.at[graph.points].set(graph.arcs),
        points=graph.points + step,
        finished=~found,
    )


def _least_price(
    cost_LL: jax.Array, counts_L: jax.Array, bounds: Bounds
) -> tuple[jax.Array, _Tree, jax.Array]:
    """Finds the least price at which a path pays.

    Returns:
      (price, infinite if none pays at any; shortest paths at that price; the path's last layer).
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
    """Returns the layer before one on its shortest path; rounds keep ties from circling."""
    excess_L = jnp.abs(tree.distance_L + cost_LL[:, node] - tree.distance_L[node])
    return jnp.argmin(jnp.where(tree.round_L < tree.round_L[node], excess_L, jnp.inf))


def _refresh(scores_LK: jax.Array, graph: _Graph, arc_3: jax.Array) -> _Graph:
    """Brings the arcs up to date after a client has moved a pick from `source` to `target`.

    Only arcs out of `source` and into `target` can have lost that client; any arc can have won it.
    """
    client, source, target = arc_3
    layers, clients = scores_LK.shape
    # Few of the 2 L arcs are stale; searching for some at once pays where a search is cheap.
    at_once = min(2 * layers, max(2, min(8, 8000 // clients)))
    every_L = jnp.arange(layers)
    from_E = jnp.concatenate([jnp.full(layers, source), every_L])
    to_E = jnp.concatenate([every_L, jnp.full(layers, target)])
    row_L = graph.mask_LK[:, client]
    stale_E = (graph.client_LL[from_E, to_E] == client) & ~(row_L[from_E] & ~row_L[to_E])

    def search(carry: tuple) -> tuple:
        cost_LL, client_LL, stale_E = carry
        _, places = jax.lax.top_k(stale_E.astype(jnp.float32), at_once)
        costs, clients = _cheapest(scores_LK, graph.mask_LK, from_E[places], to_E[places])
        return (
            cost_LL.at[from_E[places], to_E[places]].set(costs),
            client_LL.at[from_E[places], to_E[places]].set(clients),
            stale_E.at[places].set(False),
        )

    cost_LL, client_LL, _ = jax.lax.while_loop(
        lambda carry: jnp.any(carry[2]), search, (graph.cost_LL, graph.client_LL, stale_E)
    )
    scores_L = scores_LK[:, client]
    able_LL = row_L[:, None] & ~row_L[None]
    loss_LL = jnp.where(able_LL, scores_L[:, None] - scores_L[None], jnp.inf)
    return graph._replace(
        cost_LL=jnp.minimum(cost_LL, loss_LL),
        client_LL=jnp.where(loss_LL < cost_LL, client, client_LL),
    )
