"""Limits beyond the paper's problem: feasibility checks and the best choice within them.

A limit holds for one round: layers that a client may not train, the least and the largest number
of clients per layer, budgets in bytes or FLOPs with layers of unequal size, absent clients.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np
import scipy.optimize
import scipy.sparse

from f3ocus_jax.selection import problem as problem_lib
from f3ocus_jax.selection.problem import Bounds, Costs, Limits, Problem


class InfeasibleError(ValueError):
    """Limits that no choice of layers can satisfy; the message names those that conflict."""


@dataclasses.dataclass(frozen=True)
class Requirements:
    """Requirements beyond the paper's budgets; None means that there is no such limit.

    Attributes:
      allowed_KL: bool, layers each client may train.
      present_K: bool, clients that take part in the round.
      least_L: int, smallest number of clients that train each layer.
      most_L: int, largest number of clients that train each layer.
      costs_L: float > 0, cost of each layer in bytes, FLOPs or any other unit.
      capacity_K: float, largest total cost of a client's layers; it replaces the client's budget.
    """

    allowed_KL: np.ndarray | None = None
    present_K: np.ndarray | None = None
    least_L: np.ndarray | None = None
    most_L: np.ndarray | None = None
    costs_L: np.ndarray | None = None
    capacity_K: np.ndarray | None = None

    @property
    def is_empty(self) -> bool:
        """True for the paper's problem, without further limits."""
        return all(limit is None for limit in vars(self).values())

    def __post_init__(self) -> None:
        if (self.costs_L is None) != (self.capacity_K is None):
            raise ValueError("limits: costs_L and capacity_K belong together; give both or none")
        if self.costs_L is not None and np.min(self.costs_L) <= 0:
            raise ValueError(f"limits: costs_L has {np.min(self.costs_L)}; every cost must be > 0")


def make_limits(
    requirements: Requirements,
    scores_KL: np.ndarray,
    budgets_K: np.ndarray,
    clients: Sequence[str] | None = None,
) -> Limits:
    """Checks limits and finds the most important choice that satisfies them.

    Args:
      requirements: Limits to check.
      scores_KL: float [K, L], importance of every layer to every client.
      budgets_K: int [K], 1 … L; unused if layers have costs.
      clients: Names of the clients, for messages.

    Returns:
      Limits, for a `Select`.

    Raises:
      InfeasibleError: If no choice satisfies them; names the clients and layers in conflict.
    """
    count, layers = np.shape(scores_KL)
    names = list(clients) if clients is not None else [f"client {k}" for k in range(count)]
    allowed_KL = (
        np.ones((count, layers), bool)
        if requirements.allowed_KL is None
        else requirements.allowed_KL
    )
    allowed_KL = np.array(allowed_KL, bool)
    if requirements.present_K is not None:
        allowed_KL &= np.asarray(requirements.present_K, bool)[:, None]
    _check_clients(requirements, allowed_KL, np.asarray(budgets_K), names)
    least_L = np.zeros(layers, np.int32) if requirements.least_L is None else requirements.least_L
    most_L = (
        np.full(layers, count, np.int32) if requirements.most_L is None else requirements.most_L
    )
    bounds = Bounds(jnp.asarray(least_L, jnp.int32), jnp.asarray(most_L, jnp.int32))
    costs = None
    if requirements.costs_L is not None:
        costs = Costs(
            jnp.asarray(requirements.costs_L, jnp.float32),
            jnp.asarray(requirements.capacity_K, jnp.float32),
        )
    _check_layers(bounds, allowed_KL)
    unbounded = requirements.least_L is None and requirements.most_L is None
    limits = Limits(
        jnp.asarray(allowed_KL), jnp.asarray(allowed_KL), None if unbounded else bounds, costs
    )
    problem = problem_lib.make_problem(jnp.asarray(scores_KL), jnp.asarray(budgets_K), limits)
    if unbounded:
        start_KL = problem_lib.own_choice(problem)
    else:
        start_KL = jnp.asarray(_most_important(problem, limits, bounds))
    return dataclasses.replace(limits, start_KL=start_KL)


def _check_clients(
    requirements: Requirements, allowed_KL: np.ndarray, budgets_K: np.ndarray, names: list[str]
) -> None:
    """Raises if the limits of one client conflict."""
    present_K = (
        np.ones(len(names), bool) if requirements.present_K is None else requirements.present_K
    )
    for k, name in enumerate(names):
        if not present_K[k]:
            continue
        count = int(allowed_KL[k].sum())
        if requirements.costs_L is None or requirements.capacity_K is None:
            if count < budgets_K[k]:
                raise InfeasibleError(
                    f"limits: {name} may train {count} layers, but its budget is {budgets_K[k]}; "
                    "allow it more layers or lower its budget"
                )
            continue
        cheapest = np.min(np.asarray(requirements.costs_L)[allowed_KL[k]], initial=np.inf)
        if cheapest > requirements.capacity_K[k]:
            raise InfeasibleError(
                f"limits: {name} has a capacity of {requirements.capacity_K[k]:g}, but the "
                f"cheapest layer that it may train costs {cheapest:g}; raise its capacity or mark "
                "it absent"
            )


def _check_layers(bounds: Bounds, allowed_KL: np.ndarray) -> None:
    """Raises if the bounds of one layer conflict."""
    for layer, (least, most) in enumerate(zip(bounds.least_L, bounds.most_L, strict=True)):
        able = int(allowed_KL[:, layer].sum())
        if least > able:
            raise InfeasibleError(
                f"limits: layer {layer} must be trained by at least {least} clients, but only "
                f"{able} present clients may train it"
            )
        if least > most:
            raise InfeasibleError(
                f"limits: layer {layer} has a coverage of at least {least} and a cap of {most}; "
                "the coverage must be at most the cap"
            )


def _most_important(problem: Problem, limits: Limits, bounds: Bounds) -> np.ndarray:
    """Solves for the most important choice, with violations of bounds at a high price.

    The variables are the K L picks, then how far each layer is below its coverage, then how far it
    is above its cap.
    """
    scores_KL = np.asarray(problem.scores_KL, np.float64)
    allowed_V = np.asarray(limits.allowed_KL, float).ravel()
    scale = 1e4 / max(np.max(np.abs(scores_KL)), 1e-30)
    dearest = max(scale * np.abs(scores_KL).sum(), 1.0)  # not 0 for scores that are all 0
    penalty_V = np.full(2 * scores_KL.shape[1], 2.0 * dearest)
    found = scipy.optimize.milp(
        np.concatenate([-scale * scores_KL.ravel(), penalty_V]),
        integrality=np.concatenate([np.ones(scores_KL.size), np.zeros(len(penalty_V))]),
        bounds=scipy.optimize.Bounds(
            0.0, np.concatenate([allowed_V, np.full(len(penalty_V), np.inf)])
        ),
        constraints=[*_client_rows(problem, limits), *_layer_rows(problem, bounds)],
        options={"mip_rel_gap": 0.0},
    )
    _check_broken(found.x[scores_KL.size :].reshape(2, -1) > 0.5, bounds)
    return found.x[: scores_KL.size].reshape(scores_KL.shape) > 0.5


def _client_rows(problem: Problem, limits: Limits) -> Iterator[scipy.optimize.LinearConstraint]:
    """Yields the clients' budgets or, with costs, their capacities and at least one layer each."""
    clients, layers = problem.scores_KL.shape
    slack_KV = scipy.sparse.coo_array((clients, 2 * layers))

    def over_layers(weights_L: np.ndarray) -> scipy.sparse.csr_array:
        picks_KV = scipy.sparse.kron(scipy.sparse.eye_array(clients), weights_L[None])
        return scipy.sparse.hstack([picks_KV, slack_KV], format="csr")

    counts_KV = over_layers(np.ones(layers))
    if limits.costs is None:
        budgets_K = np.asarray(problem.budgets_K, float)
        yield scipy.optimize.LinearConstraint(counts_KV, budgets_K, budgets_K)
        return
    present_K = np.any(limits.allowed_KL, axis=1).astype(float)
    yield scipy.optimize.LinearConstraint(counts_KV, present_K, layers * present_K)
    costs_KV = over_layers(np.asarray(limits.costs.costs_L, float))
    yield scipy.optimize.LinearConstraint(costs_KV, 0.0, np.asarray(limits.costs.capacity_K))


def _layer_rows(problem: Problem, bounds: Bounds) -> Iterator[scipy.optimize.LinearConstraint]:
    """Yields coverage and caps, each with a slack variable."""
    clients, layers = problem.scores_KL.shape
    eye_LL, none_LL = scipy.sparse.eye_array(layers), scipy.sparse.coo_array((layers, layers))
    counts_LV = scipy.sparse.kron(np.ones((1, clients)), eye_LL)
    covered = scipy.sparse.hstack([counts_LV, eye_LL, none_LL], format="csr")
    yield scipy.optimize.LinearConstraint(covered, np.asarray(bounds.least_L), np.inf)
    capped = scipy.sparse.hstack([counts_LV, none_LL, -eye_LL], format="csr")
    yield scipy.optimize.LinearConstraint(capped, -np.inf, np.asarray(bounds.most_L))


def _check_broken(broken_2L: np.ndarray, bounds: Bounds) -> None:
    """Raises if bounds could not be satisfied together with the clients' budgets."""
    clashes = [
        f"at least {bounds.least_L[layer]} for layer {layer}"
        for layer in np.flatnonzero(broken_2L[0])
    ]
    clashes += [
        f"at most {bounds.most_L[layer]} for layer {layer}"
        for layer in np.flatnonzero(broken_2L[1])
    ]
    if clashes:
        raise InfeasibleError(
            f"limits: the clients' budgets leave no way to keep {', '.join(clashes)} beside the "
            "other limits; lower the coverage, raise the caps, or change the budgets"
        )
