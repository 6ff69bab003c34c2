"""Limits beyond the paper's problem: feasibility checks and the best choice within them.

A limit holds for one round: layers that a client may not train, the least and the largest number
of clients per layer, the least number of clients that share a layer which anybody trains, budgets
in bytes or FLOPs with layers of unequal size, absent clients.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.selection import most_important, problem as problem_lib
from f3ocus_jax.selection.most_important import InfeasibleError
from f3ocus_jax.selection.problem import Bounds, Costs, Limits, Problem


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
      sharers: Smallest number of clients that train a layer which anybody trains, at least 2.
    """

    allowed_KL: np.ndarray | None = None
    present_K: np.ndarray | None = None
    least_L: np.ndarray | None = None
    most_L: np.ndarray | None = None
    costs_L: np.ndarray | None = None
    capacity_K: np.ndarray | None = None
    sharers: int | None = None

    @property
    def is_empty(self) -> bool:
        """True for the paper's problem, without further limits."""
        return all(limit is None for limit in vars(self).values())

    def __post_init__(self) -> None:
        if (self.costs_L is None) != (self.capacity_K is None):
            raise ValueError("limits: costs_L and capacity_K belong together; give both or none")
        if self.costs_L is not None and np.min(self.costs_L) <= 0:
            raise ValueError(f"limits: costs_L has {np.min(self.costs_L)}; every cost must be > 0")
        if self.sharers is not None and self.sharers < 2:
            raise ValueError(f"limits: sharers = {self.sharers}, must be >= 2, or None for any")


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
    bounds = _make_bounds(requirements, allowed_KL)
    if requirements.sharers is not None:
        _check_present(requirements.sharers, allowed_KL)
        allowed_KL &= _shareable(requirements.sharers, bounds, allowed_KL)[None]
    _check_clients(requirements, allowed_KL, np.asarray(budgets_K), names)
    unbounded = requirements.least_L is None and requirements.most_L is None
    limits = Limits(
        jnp.asarray(allowed_KL),
        jnp.asarray(allowed_KL),
        None if unbounded else bounds,
        _make_costs(requirements),
        None if requirements.sharers is None else jnp.int32(requirements.sharers),
    )
    problem = problem_lib.make_problem(jnp.asarray(scores_KL), jnp.asarray(budgets_K), limits)
    return dataclasses.replace(limits, start_KL=_start(problem, limits, bounds))


def _start(problem: Problem, limits: Limits, bounds: Bounds) -> jax.Array:
    """Returns the most important choice; with costs alone, the clients' own, close to it."""
    own_KL = problem_lib.own_choice(problem)
    if not limits.joint:
        return own_KL
    counts_1L = jnp.sum(own_KL, axis=0, dtype=jnp.int32)[None]
    if limits.costs is None and problem_lib.in_bounds(limits, counts_1L)[0]:
        return own_KL
    return jnp.asarray(most_important.solve(problem, limits, bounds))


def _make_costs(requirements: Requirements) -> Costs | None:
    if requirements.costs_L is None:
        return None
    return Costs(
        jnp.asarray(requirements.costs_L, jnp.float32),
        jnp.asarray(requirements.capacity_K, jnp.float32),
    )


def _make_bounds(requirements: Requirements, allowed_KL: np.ndarray) -> Bounds:
    """Returns the bounds of every layer; a layer that must be trained must also be shared."""
    clients, layers = allowed_KL.shape
    least_L = np.zeros(layers, int) if requirements.least_L is None else requirements.least_L
    most_L = np.full(layers, clients) if requirements.most_L is None else requirements.most_L
    if requirements.sharers is not None:
        least_L = np.where(least_L > 0, np.maximum(least_L, requirements.sharers), 0)
    bounds = Bounds(jnp.asarray(least_L, jnp.int32), jnp.asarray(most_L, jnp.int32))
    _check_layers(bounds, allowed_KL)
    return bounds


def _shareable(sharers: int, bounds: Bounds, allowed_KL: np.ndarray) -> np.ndarray:
    """Returns the layers that enough clients may train at all, bool [L]."""
    return (allowed_KL.sum(axis=0) >= sharers) & (np.asarray(bounds.most_L) >= sharers)


def _check_present(sharers: int, allowed_KL: np.ndarray) -> None:
    """Raises if fewer clients are present than must share a layer."""
    present = int(allowed_KL.any(axis=1).sum())
    if present < sharers:
        raise InfeasibleError(
            f"limits: at least {sharers} clients must share a layer, but only {present} are present"
        )


def _check_clients(
    requirements: Requirements, allowed_KL: np.ndarray, budgets_K: np.ndarray, names: list[str]
) -> None:
    """Raises if the limits of one client conflict."""
    present_K = (
        np.ones(len(names), bool) if requirements.present_K is None else requirements.present_K
    )
    shared = (
        "" if requirements.sharers is None else f" that {requirements.sharers} clients may share"
    )
    for k, name in enumerate(names):
        if not present_K[k]:
            continue
        count = int(allowed_KL[k].sum())
        if requirements.costs_L is None or requirements.capacity_K is None:
            if count < budgets_K[k]:
                raise InfeasibleError(
                    f"limits: {name} may train {count} layers{shared}, but its budget is "
                    f"{budgets_K[k]}; "
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
