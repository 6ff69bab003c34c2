"""Limits of what each client may train: budgets in layers, bytes or FLOPs, and others."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from f3ocus_jax import selection
from f3ocus_jax.config import nearest, require
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation.participation import Participation
from f3ocus_jax.federation.settings import FederatedConfig, LimitsConfig
from f3ocus_jax.selection import exact
from f3ocus_jax.selection.problem import Limits


@dataclasses.dataclass(frozen=True)
class Budgets:
    """The limits of a run.

    Attributes:
      clients: Names of the K clients.
      budgets_K: int32, largest number of layers that each may train; L where layers of unequal
        cost have their budgets in `wanted`.
      wanted: Limits beyond these budgets, apart from absence.
      participation: Participation of the clients in every round.
    """

    clients: tuple[str, ...]
    budgets_K: np.ndarray
    wanted: selection.Requirements
    participation: Participation

    @property
    def slots(self) -> int:
        """R, the largest number of layers that one client may train."""
        return int(self.budgets_K.max())

    def limits(self, present_K: np.ndarray, scores_KL: np.ndarray) -> Limits | None:
        """Returns the limits of a round's choice, apart from the budgets.

        Args:
          present_K: bool, True for clients that take part in the round.
          scores_KL: float, importance of every layer to every client.

        Returns:
          Limits, or None if no round has any as planned.

        Raises:
          InfeasibleError: if no choice satisfies them.
        """
        if self.wanted.is_empty and self.participation.everyone and present_K.all():
            return None
        wanted = dataclasses.replace(self.wanted, present_K=present_K)
        return selection.limits.make_limits(wanted, scores_KL, self.budgets_K, self.clients)


def make_budgets(
    costs_L: np.ndarray,
    participation: Participation,
    *,
    limits: LimitsConfig,
    algorithm: str,
    at_most: bool = False,
) -> Budgets:
    """Makes the limits of a run, and checks that every round has a choice within them.

    Args:
      costs_L: Costs from `layer_costs.layer_costs`.
      participation: Participation of the clients, with the settings of their budgets.
      limits: Limits beyond the budgets.
      algorithm: A key of `selection.SELECTORS`.
      at_most: True for clients that may train fewer layers than their budgets, but at least one.

    Returns:
      Budgets.

    Raises:
      ConfigError: for an impossible budget, an unknown client or layer, or limits that contradict
        each other.
    """
    settings, names, num_layers = participation.settings, participation.clients, len(costs_L)
    spendable_K = per_client(settings, len(names), costs_L)
    _check_budgets(settings, spendable_K, costs_L, names)
    shared: dict[str, Any] = {
        "allowed_KL": _allowed(limits.forbidden, names, num_layers),
        "least_L": _same(limits.minimum_coverage, num_layers),
        "most_L": _same(limits.maximum_coverage, num_layers),
        "sharers": limits.minimum_sharers if limits.minimum_sharers > 1 else None,
    }
    if np.ptp(costs_L) == 0:
        layers_K = np.minimum(spendable_K // costs_L[0], num_layers)
        if at_most:
            shared |= {"costs_L": np.ones(num_layers), "capacity_K": layers_K}
        wanted = selection.Requirements(**shared)
    else:
        layers_K = np.full(len(names), num_layers)
        wanted = selection.Requirements(**shared, costs_L=costs_L, capacity_K=spendable_K)
    _check_names("federated.absent", settings.absent, names)
    _check_participation(participation)
    budgets = Budgets(names, layers_K.astype(np.int32), wanted, participation)
    _check_algorithm(algorithm, wanted, len(names) * num_layers)
    _check_rounds(budgets, num_layers)
    return budgets


def per_client(settings: FederatedConfig, count: int, costs_L: np.ndarray) -> np.ndarray:
    """Returns every client's budget in the unit of the config.

    Args:
      settings: Settings of the federation.
      count: K.
      costs_L: Cost of each layer in that unit.

    Returns:
      spendable_K, float64; where the config gives none, enough for all layers.

    Raises:
      ConfigError: If there are neither one number nor K.
    """
    given = settings.budgets
    if not given:
        # A little more than the sum, which is rounded.
        return np.full(count, costs_L.sum() * (1 + 1e-9))
    allowed = f"1 number or {count}, one per client"
    require(len(given) in (1, count), "federated.budgets", given, allowed)
    return np.broadcast_to(np.array(given, np.float64), count)


def _check_budgets(
    settings: FederatedConfig, spendable_K: np.ndarray, costs_L: np.ndarray, names: Sequence[str]
) -> None:
    unit, given = settings.budget_unit, settings.budgets
    if unit == "layers":
        allowed = f"at most {len(costs_L)}, the number of selectable layers"
        require(max(given, default=0) <= len(costs_L), "federated.budgets", given, allowed)
    poorest = int(np.argmin(spendable_K))
    require(
        spendable_K[poorest] >= costs_L.min(),
        "federated.budgets",
        given,
        f"at least {costs_L.min():.0f} {unit}, the cheapest layer, for client {names[poorest]}",
    )


def _allowed(
    forbidden: Mapping[str, Sequence[int]], names: Sequence[str], num_layers: int
) -> np.ndarray | None:
    """Returns allowed_KL, True where client k may train layer l; None if all may train all."""
    if not forbidden:
        return None
    _check_names("limits.forbidden", forbidden, names)
    allowed_KL = np.ones((len(names), num_layers), bool)
    for name, layers in forbidden.items():
        inside = all(0 <= layer < num_layers for layer in layers)
        require(inside, f"limits.forbidden.{name}", layers, f"layers 0 to {num_layers - 1}")
        allowed_KL[names.index(name), list(layers)] = False
    return allowed_KL


def _same(coverage: int, num_layers: int) -> np.ndarray | None:
    return np.full(num_layers, coverage, np.int32) if coverage else None


def _check_names(setting: str, given: Mapping[str, object], names: Sequence[str]) -> None:
    for name in given:
        if name not in names:
            raise ConfigError(f"config.{setting} names client {name!r}{nearest(name, names)}")


def _check_algorithm(algorithm: str, wanted: selection.Requirements, picks: int) -> None:
    """Refuses limits that an algorithm does not respect."""
    free = {
        "own": "lets every client choose by itself and ",
        "allocated": "allocates layers by budgets alone and ",
        "regularised": "lets clients choose in turn and ",
    }
    if algorithm in free and (wanted.least_L is not None or wanted.most_L is not None):
        raise ConfigError(
            f"config.selection.algorithm = {algorithm!r} {free[algorithm]}"
            "keeps no config.limits.minimum_coverage or maximum_coverage; set them to 0 or choose "
            "a search such as nsga2"
        )
    if algorithm in free and wanted.sharers is not None:
        raise ConfigError(
            f"config.selection.algorithm = {algorithm!r} {free[algorithm]}"
            f"keeps no config.limits.minimum_sharers = {wanted.sharers}; set it to 1 or choose a "
            "search such as nsga2"
        )
    if algorithm == "exact" and wanted.sharers is not None and picks > exact.TRUE_FRONT_SIZE:
        raise ConfigError(
            f"config.selection.algorithm = 'exact' takes at most {exact.TRUE_FRONT_SIZE} clients x "
            f"layers with config.limits.minimum_sharers = {wanted.sharers}, here are {picks}; set "
            "it to 1 or choose a search such as nsga2"
        )
    if algorithm == "exact" and wanted.costs_L is not None and picks > exact.WITH_COSTS_SIZE:
        alike = np.ptp(wanted.costs_L) == 0
        kind = "with config.selection.budgets = 'at_most'" if alike else "of unequal cost"
        remedy = (
            "config.selection.budgets = 'exact'"
            if alike
            else "config.federated.budget_unit = 'layers'"
        )
        raise ConfigError(
            f"config.selection.algorithm = 'exact' takes at most {exact.WITH_COSTS_SIZE} clients x "
            f"layers {kind}, here are {picks}; choose {remedy} or a search such as nsga2"
        )


def _check_participation(participation: Participation) -> None:
    """Refuses a federation that is smaller than what a round needs."""
    settings, count = participation.settings, len(participation.clients)
    for name in ("participants", "min_clients"):
        given = getattr(settings, name)
        require(given <= count, f"federated.{name}", given, f"at most {count}, the clients")


def _check_rounds(budgets: Budgets, num_layers: int) -> None:
    """Refuses rounds with too few clients, and rounds without a choice within all limits.

    Clients that will drop out or fail are not foreseen.
    """
    settings = budgets.participation.settings
    alike_KL = np.ones((len(budgets.clients), num_layers), np.float32)
    seen: set[bytes] = set()
    for number in range(1, settings.rounds + 1):
        present_K = budgets.participation.present(number)
        if present_K.tobytes() in seen:
            continue
        seen.add(present_K.tobytes())
        here = int(present_K.sum())
        if not here:
            raise ConfigError(f"config.federated.absent leaves no client in round {number}")
        allowed = f"at most {here}, the clients of round {number}"
        require(
            here >= settings.min_clients, "federated.min_clients", settings.min_clients, allowed
        )
        if budgets.wanted.is_empty:
            continue
        try:
            budgets.limits(present_K, alike_KL)
        except selection.InfeasibleError as error:
            clash = str(error).removeprefix("limits: ")
            raise ConfigError(f"config.limits, round {number}: {clash}") from error
