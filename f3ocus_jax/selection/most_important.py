"""The most important choice within limits that join clients, by an integer programme.

The variables are the K L picks, then, for each layer, how far it is below its coverage, how far it
is above its cap and, if layers must be shared, how far it is below its number of sharers, and a
switch that is on if anybody picks it.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse

from f3ocus_jax.selection.problem import Bounds, Limits, Problem

Rows = Iterator[tuple[scipy.sparse.sparray, np.ndarray | float, np.ndarray | float]]
"""Linear constraints: (matrix, lower, upper)."""


class InfeasibleError(ValueError):
    """Limits that no choice of layers can satisfy; the message names those that conflict."""


def solve(problem: Problem, limits: Limits, bounds: Bounds) -> np.ndarray:
    """Solves for the most important choice, with violations of the layers' limits at a high price.

    Args:
      problem: Problem of this round.
      limits: Its limits.
      bounds: Bounds of every layer.

    Returns:
      mask_KL, bool.

    Raises:
      InfeasibleError: If a layer's limit must be violated; names these layers.
    """
    scores_KL = np.asarray(problem.scores_KL, np.float64)
    size, layers = scores_KL.size, scores_KL.shape[1]
    scale = 1e4 / max(np.max(np.abs(scores_KL)), 1e-30)
    dearest = max(scale * np.abs(scores_KL).sum(), 1.0)  # not 0 for scores that are all 0
    shared = limits.sharers is not None
    violations = (3 if shared else 2) * layers
    switches = layers if shared else 0
    rows = [*_client_rows(problem, limits), *_layer_rows(problem, bounds)]
    rows += [*_sharing_rows(problem, int(limits.sharers))] if limits.sharers is not None else []
    found = scipy.optimize.milp(
        np.repeat([0.0, 2.0 * dearest, 0.0], [size, violations, switches])
        - np.pad(scale * scores_KL.ravel(), (0, violations + switches)),
        # Without costs, what the switches leave is a transport problem: its corners are whole.
        integrality=np.repeat([limits.costs is not None, 0, 1], [size, violations, switches]),
        bounds=scipy.optimize.Bounds(
            0.0,
            np.concatenate(
                [
                    np.asarray(limits.allowed_KL, float).ravel(),
                    np.repeat([np.inf, 1.0], [violations, switches]),
                ]
            ),
        ),
        constraints=[_widen(*row, size + violations + switches) for row in rows],
        options={"mip_rel_gap": 0.0},
    )
    broken = found.x[size : size + violations].reshape(-1, layers) > 0.5
    _check_broken(broken, bounds, limits)
    return found.x[:size].reshape(scores_KL.shape) > 0.5


def _widen(
    matrix: scipy.sparse.sparray,
    lower: np.ndarray | float,
    upper: np.ndarray | float,
    size: int,
) -> scipy.optimize.LinearConstraint:
    """Adds columns of zeros for the variables that a constraint leaves out."""
    none = scipy.sparse.coo_array((matrix.shape[0], size - matrix.shape[1]))
    return scipy.optimize.LinearConstraint(
        scipy.sparse.hstack([matrix, none], format="csr"), lower, upper
    )


def _client_rows(problem: Problem, limits: Limits) -> Rows:
    """Yields the clients' budgets or, with costs, their capacities and at least one layer each."""
    clients, layers = problem.scores_KL.shape

    def over_layers(weights_L: np.ndarray) -> scipy.sparse.sparray:
        return scipy.sparse.kron(scipy.sparse.eye_array(clients), weights_L[None])

    if limits.costs is None:
        budgets_K = np.asarray(problem.budgets_K, float)
        yield over_layers(np.ones(layers)), budgets_K, budgets_K
        return
    present_K = np.any(limits.allowed_KL, axis=1).astype(float)
    yield over_layers(np.ones(layers)), present_K, layers * present_K
    costs_L = np.asarray(limits.costs.costs_L, float)
    yield over_layers(costs_L), 0.0, np.asarray(limits.costs.capacity_K)


def _counts(problem: Problem) -> scipy.sparse.sparray:
    """Returns the matrix from picks to the number of clients of each layer."""
    clients, layers = problem.scores_KL.shape
    return scipy.sparse.kron(np.ones((1, clients)), scipy.sparse.eye_array(layers))


def _layer_rows(problem: Problem, bounds: Bounds) -> Rows:
    """Yields coverage and caps, each with the variables of its violation."""
    layers = problem.scores_KL.shape[1]
    eye_LL, none_LL = scipy.sparse.eye_array(layers), scipy.sparse.coo_array((layers, layers))
    counts_LV = _counts(problem)
    yield scipy.sparse.hstack([counts_LV, eye_LL]), np.asarray(bounds.least_L), np.inf
    capped = scipy.sparse.hstack([counts_LV, none_LL, -eye_LL])
    yield capped, -np.inf, np.asarray(bounds.most_L)


def _sharing_rows(problem: Problem, sharers: int) -> Rows:
    """Yields that a pick needs its layer's switch, and a switch the sharers or a violation."""
    clients, layers = problem.scores_KL.shape
    eye_LL, none_LV = scipy.sparse.eye_array(layers), scipy.sparse.coo_array((layers, 2 * layers))
    enough = scipy.sparse.hstack([_counts(problem), none_LV, eye_LL, -sharers * eye_LL])
    yield enough, 0.0, np.inf
    none_VV = scipy.sparse.coo_array((clients * layers, 3 * layers))
    switch_VL = scipy.sparse.kron(np.ones((clients, 1)), eye_LL)
    picks_VV = scipy.sparse.eye_array(clients * layers)
    yield scipy.sparse.hstack([picks_VV, none_VV, -switch_VL]), -np.inf, 0.0


def _check_broken(broken: np.ndarray, bounds: Bounds, limits: Limits) -> None:
    """Raises if a layer's limits could not be satisfied together with the clients' budgets."""
    kinds: list[tuple[str, Any]] = [("at least", bounds.least_L), ("at most", bounds.most_L)]
    if limits.sharers is not None:
        kinds.append(("nobody or at least", np.full(broken.shape[1], limits.sharers)))
    clashes = [
        f"{kind} {bound_L[layer]} for layer {layer}"
        for (kind, bound_L), broken_L in zip(kinds, broken, strict=True)
        for layer in np.flatnonzero(broken_L)
    ]
    if clashes:
        remedy = "lower the coverage, raise the caps, or change the budgets"
        remedy = remedy if limits.sharers is None else f"lower the number of sharers, {remedy}"
        raise InfeasibleError(
            f"limits: the clients' budgets leave no way to keep {', '.join(clashes)} beside the "
            f"other limits; {remedy}"
        )
