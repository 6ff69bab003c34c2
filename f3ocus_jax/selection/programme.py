"""True Pareto front by one integer programme per value of the variance.

The ε-constraint method (Haimes, Lasdon, Wismer 1971): the most important choice, then the most
important one of less variance, and so on (HiGHS through SciPy). For small problems only.

The variables are the K L picks; per layer, K units, of which a layer with n picks uses n, the j-th
at cost 2 j − 1, so that their costs sum to n²; and, where layers have costs and so the number N of
all picks is open, one switch per possible N. The variance × L is Σ_l n_l² − N² / L. Where at
least t clients must share a layer, its first t units are used together, the others after them.
"""

from collections.abc import Iterator

import numpy as np
import scipy.optimize
import scipy.sparse

from f3ocus_jax.selection.problem import Limits

Rows = tuple[scipy.sparse.sparray, np.ndarray, np.ndarray]
"""Linear constraints: (matrix, lower, upper)."""


def descend(
    scores_KL: np.ndarray, budgets_K: np.ndarray, limits: Limits | None
) -> Iterator[np.ndarray]:
    """Yields the most important choice for every bound on the variance, downwards.

    Args:
      scores_KL: float64 [K, L], finite.
      budgets_K: int [K], 1 … L; unused if the limits have costs.
      limits: Limits beyond the paper's.

    Yields:
      mask_KL, bool; among equally important choices the more even one comes later.
    """
    clients, layers = scores_KL.shape
    totals_N = _totals(limits)
    with_costs = len(totals_N) > 0
    rows = [*_client_rows(scores_KL.shape, budgets_K, limits), _layer_rows(scores_KL.shape)]
    if limits is not None and limits.sharers is not None:
        rows += [_sharing_rows(scores_KL.shape, int(limits.sharers))]
    rows = [_widen(row, len(totals_N)) for row in rows]
    rows += [_total_rows(scores_KL.shape, totals_N)] if with_costs else []
    squares_U = np.tile(2.0 * np.arange(clients) + 1, layers)
    spread_V = np.concatenate([np.zeros(scores_KL.size), squares_U, -(totals_N**2) / layers])
    # HiGHS stops within 1e-6 of the optimum; larger numbers make that a smaller share.
    scale = 1e4 / max(np.max(np.abs(scores_KL)), 1e-30)
    objective_V = np.zeros(len(spread_V))
    objective_V[: scores_KL.size] = -scale * scores_KL.ravel()
    # With a fixed number of picks, whole counts leave a transport problem: its corners are whole.
    whole_V = np.ones(len(spread_V))
    whole_V[: scores_KL.size] = with_costs
    # Then, too, Σ_l n_l² is always odd or always even.
    step, bound = (1.0 / layers if with_costs else 2.0), np.inf
    while True:
        found = scipy.optimize.milp(
            objective_V,
            integrality=whole_V,
            bounds=_variable_bounds(scores_KL.shape, limits, len(totals_N)),
            constraints=_stack([*rows, (spread_V[None], np.array([-np.inf]), np.array([bound]))]),
            options={"mip_rel_gap": 0.0},
        )
        if found.x is None:
            return
        mask_KL = found.x[: scores_KL.size].reshape(clients, layers) > 0.5
        yield mask_KL
        total = float(mask_KL.sum()) if with_costs else 0.0
        bound = float(np.sum(mask_KL.sum(axis=0) ** 2)) - total**2 / layers - step


def _totals(limits: Limits | None) -> np.ndarray:
    """Returns every number of picks that the clients' capacities may allow; none without costs."""
    if limits is None or limits.costs is None:
        return np.zeros(0)
    allowed_KL = np.asarray(limits.allowed_KL)
    costs_KL = np.where(allowed_KL, np.asarray(limits.costs.costs_L, np.float64)[None], np.inf)
    spent_KL = np.cumsum(np.sort(costs_KL, axis=1), axis=1)
    most = int(np.sum(spent_KL <= np.asarray(limits.costs.capacity_K, np.float64)[:, None]))
    return np.arange(int(allowed_KL.any(axis=1).sum()), most + 1, dtype=np.float64)


def _client_rows(
    shape: tuple[int, int], budgets_K: np.ndarray, limits: Limits | None
) -> Iterator[Rows]:
    """Yields the clients' budgets or, with costs, at least one layer each and the capacities."""
    clients, layers = shape
    none_KU = scipy.sparse.coo_array((clients, layers * clients))

    def over_layers(weights_KL: np.ndarray) -> scipy.sparse.sparray:
        picks_KV = scipy.sparse.block_diag(list(map(scipy.sparse.coo_array, weights_KL[:, None])))
        return scipy.sparse.hstack([picks_KV, none_KU])

    present_K = np.ones(clients) if limits is None else np.any(limits.allowed_KL, axis=1)
    counts_KV = over_layers(np.ones(shape))
    if limits is None or limits.costs is None:
        yield counts_KV, budgets_K * present_K, budgets_K * present_K
        return
    yield counts_KV, 1.0 * present_K, layers * present_K
    # Relative to the capacity, so that HiGHS's tolerance is relative as well.
    capacity_K1 = np.asarray(limits.costs.capacity_K, np.float64)[:, None]
    relative_KL = np.asarray(limits.costs.costs_L, np.float64)[None] / capacity_K1
    yield over_layers(relative_KL), np.full(clients, -np.inf), np.ones(clients)


def _layer_rows(shape: tuple[int, int]) -> Rows:
    """Returns the constraints that a layer uses as many units as clients pick it."""
    clients, layers = shape
    eye_LL, ones_1K = scipy.sparse.eye_array(layers), np.ones((1, clients))
    picks_LV, units_LU = scipy.sparse.kron(ones_1K, eye_LL), scipy.sparse.kron(eye_LL, ones_1K)
    return scipy.sparse.hstack([picks_LV, -units_LU]), np.zeros(layers), np.zeros(layers)


def _sharing_rows(shape: tuple[int, int], sharers: int) -> Rows:
    """Returns the constraints that a layer uses its first units together, and before the others."""
    clients, layers = shape
    first_UK = np.zeros((clients, clients))
    first_UK[:, 0] = 1.0
    units_UU = scipy.sparse.kron(scipy.sparse.eye_array(layers), np.eye(clients) - first_UK)
    none_UV = scipy.sparse.coo_array((layers * clients, clients * layers))
    lower_U = np.tile(np.where(np.arange(clients) < sharers, 0.0, -np.inf), layers)
    return scipy.sparse.hstack([none_UV, units_UU]), lower_U, np.zeros(layers * clients)


def _total_rows(shape: tuple[int, int], totals_N: np.ndarray) -> Rows:
    """Returns the constraints that the switch of the number of picks, and no other, is on."""
    size = shape[0] * shape[1]
    picks_1V = np.concatenate([np.ones(size), np.zeros(size), -totals_N])[None]
    switch_1V = np.concatenate([np.zeros(2 * size), np.ones(len(totals_N))])[None]
    right = np.array([0.0, 1.0])
    return scipy.sparse.coo_array(np.concatenate([picks_1V, switch_1V])), right, right


def _widen(rows: Rows, switches: int) -> Rows:
    matrix, lower, upper = rows
    none = scipy.sparse.coo_array((matrix.shape[0], switches))
    return scipy.sparse.hstack([matrix, none]), lower, upper


def _stack(rows: list[Rows]) -> scipy.optimize.LinearConstraint:
    matrices, lowers, uppers = zip(*rows, strict=True)
    matrix = scipy.sparse.vstack(matrices, format="csr")
    return scipy.optimize.LinearConstraint(matrix, np.concatenate(lowers), np.concatenate(uppers))


def _variable_bounds(
    shape: tuple[int, int], limits: Limits | None, switches: int
) -> scipy.optimize.Bounds:
    """Returns the bounds of each variable; a layer uses its units in order."""
    clients, layers = shape
    allowed_KL, least_L, most_L = np.ones(shape), np.zeros(layers), np.full(layers, clients)
    if limits is not None:
        allowed_KL = np.asarray(limits.allowed_KL, float)
    if limits is not None and limits.bounds is not None:
        least_L, most_L = np.asarray(limits.bounds.least_L), np.asarray(limits.bounds.most_L)
    index_K = np.arange(clients)
    used_LK, usable_LK = index_K < least_L[:, None], index_K < most_L[:, None]
    lowest_V = np.concatenate([np.zeros(allowed_KL.size), used_LK.ravel(), np.zeros(switches)])
    highest_V = np.concatenate([allowed_KL.ravel(), usable_LK.ravel(), np.ones(switches)])
    return scipy.optimize.Bounds(lowest_V, highest_V)
