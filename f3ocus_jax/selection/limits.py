"""Which limits beyond the paper's can be kept together? Hospitals have them; a clash is named.

A limit is a fact of the round: layers a client may not train, how many clients may or must train
a layer, budgets in bytes or FLOPs with layers of unequal size, clients that are absent.
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
    """Limits that no choice of layers can keep; the message names those that clash."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is wanted beyond the paper's budgets; None stands for no such limit.

    Attributes:
      allowed_KL: bool, layers each client may train.
      present_K: bool, clients that take part in the round.
      least_L: int, how many clients must at least train each layer.
      most_L: int, how many may at most.
      costs_L: float > 0, bytes, FLOPs or whatever a layer costs.
      capacity_K: float, what each client's layers may cost together; instead of a budget.
    """

    allowed_KL: np.ndarray | None = None
    present_K: np.ndarray | None = None
    least_L: np.ndarray | None = None
    most_L: np.ndarray | None = None
    costs_L: np.ndarray | None = None
    capacity_K: np.ndarray | None = None

    @property
    def nothing(self) -> bool:
        """Whether this is the paper's problem."""
        return all(limit is None for limit in vars(self).values())

    def __post_init__(self) -> None:
        if (self.costs_L is None) != (self.capacity_K is None):
            raise ValueError("limits: costs_L and capacity_K belong together; give both or none")
        if self.costs_L is not None and np.min(self.costs_L) <= 0:
            raise ValueError(f"limits: costs_L has {np.min(self.costs_L)}; every cost must be > 0")


def make_limits(
    wanted: Wanted,
    scores_KL: np.ndarray,
    budgets_K: np.ndarray,
    clients: Sequence[str] | None = None,
) -> Limits:
    """Checks limits and finds the most important choice that keeps them.

    Args:
      wanted: the limits.
      scores_KL: float, importance of every layer to every client.
      budgets_K: int, 1 … L; not used where layers have costs.
      clients: their names, for messages.

    Returns:
      Limits, for a `Select`.

    Raises:
      InfeasibleError: if no choice keeps them; names the clients and layers that clash.
    """
    count, layers = np.shape(scores_KL)
    names = list(clients) if clients is not None else [f"client {k}" for k in range(count)]
    allowed_KL = np.ones((count, layers), bool) if wanted.allowed_KL is None else wanted.allowed_KL
    allowed_KL = np.array(allowed_KL, bool)
    if wanted.present_K is not None:
        allowed_KL &= np.asarray(wanted.present_K, bool)[:, None]
    _check_clients(wanted, allowed_KL, np.asarray(budgets_K), names)
    least_L = np.zeros(layers, np.int32) if wanted.least_L is None else wanted.least_L
    most_L = np.full(layers, count, np.int32) if wanted.most_L is None else wanted.most_L
    bounds = Bounds(jnp.asarray(least_L, jnp.int32), jnp.asarray(most_L, jnp.int32))
    costs = None
    if wanted.costs_L is not None:
        costs = Costs(
            jnp.asarray(wanted.costs_L, jnp.float32), jnp.asarray(wanted.capacity_K, jnp.float32)
        )
    _check_layers(bounds, allowed_KL)
    unbounded = wanted.least_L is None and wanted.most_L is None
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
    wanted: Wanted, allowed_KL: np.ndarray, budgets_K: np.ndarray, names: list[str]
) -> None:
    """Looks for clients whose own limits clash."""
    present_K = np.ones(len(names), bool) if wanted.present_K is None else wanted.present_K
    for k, name in enumerate(names):
        if not present_K[k]:
            continue
        count = int(allowed_KL[k].sum())
        if wanted.costs_L is None or wanted.capacity_K is None:
            if count < budgets_K[k]:
                raise InfeasibleError(
                    f"limits: {name} may train {count} layers, but its budget is {budgets_K[k]}; "
                    "allow it more layers or lower its budget"
                )
            continue
        cheapest = np.min(np.asarray(wanted.costs_L)[allowed_KL[k]], initial=np.inf)
        if cheapest > wanted.capacity_K[k]:
            raise InfeasibleError(
                f"limits: {name} has a capacity of {wanted.capacity_K[k]:g}, but the cheapest "
                f"layer that it may train costs {cheapest:g}; raise its capacity or mark it absent"
            )


def _check_layers(bounds: Bounds, allowed_KL: np.ndarray) -> None:
    """Looks for layers whose own bounds clash."""
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
    """Solves for the most important choice, with bounds that may be broken at a high price.

    The variables are the K L picks, then how far each layer is below its coverage, then how far it
    is above its cap.
    """
    scores_KL = np.asarray(problem.scores_KL, np.float64)
    allowed_V = np.asarray(limits.allowed_KL, float).ravel()
    scale = 1e4 / max(np.max(np.abs(scores_KL)), 1e-30)
    dear_V = np.full(2 * scores_KL.shape[1], 2.0 * scale * np.abs(scores_KL).sum())
    found = scipy.optimize.milp(
        np.concatenate([-scale * scores_KL.ravel(), dear_V]),
        integrality=np.concatenate([np.ones(scores_KL.size), np.zeros(len(dear_V))]),
        bounds=scipy.optimize.Bounds(
            0.0, np.concatenate([allowed_V, np.full(len(dear_V), np.inf)])
        ),
        constraints=[*_client_rows(problem, limits), *_layer_rows(problem, bounds)],
        options={"mip_rel_gap": 0.0},
    )
    _check_broken(found.x[scores_KL.size :].reshape(2, -1) > 0.5, bounds)
    return found.x[: scores_KL.size].reshape(scores_KL.shape) > 0.5


def _client_rows(problem: Problem, limits: Limits) -> Iterator[scipy.optimize.LinearConstraint]:
    """Yields the clients' budgets, or what their layers may cost and that each trains one."""
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
    """Yields coverage and caps, each with room for what breaks it."""
    clients, layers = problem.scores_KL.shape
    eye_LL, none_LL = scipy.sparse.eye_array(layers), scipy.sparse.coo_array((layers, layers))
    counts_LV = scipy.sparse.kron(np.ones((1, clients)), eye_LL)
    covered = scipy.sparse.hstack([counts_LV, eye_LL, none_LL], format="csr")
    yield scipy.optimize.LinearConstraint(covered, np.asarray(bounds.least_L), np.inf)
    capped = scipy.sparse.hstack([counts_LV, none_LL, -eye_LL], format="csr")
    yield scipy.optimize.LinearConstraint(capped, -np.inf, np.asarray(bounds.most_L))


def _check_broken(broken_2L: np.ndarray, bounds: Bounds) -> None:
    """Names the bounds that could not be kept together with the clients' budgets."""
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
