"""Which settings has a federation's round: clients, their limits, and how they become one model?"""

import dataclasses
from collections.abc import Mapping

from f3ocus_jax.config.checks import require

PLACEMENTS = ("pmap", "map", "sharded", "loop")
BUDGET_UNITS = ("layers", "bytes", "flops")


@dataclasses.dataclass(frozen=True)
class FederatedConfig:
    """The rounds, and how clients are laid out on this machine.

    Attributes:
      rounds: how many.
      budgets: what each client may train per round, one number for all or one per client; empty for
        all layers.
      budget_unit: what `budgets` count: "layers", "bytes" (of the layers sent) or "flops" (of
        their weight gradients, per example).
      absent: rounds that a client misses, by its name.
      participation: share of the clients there that is drawn anew for every round, at least one.
      participants: how many are drawn, instead of a share; 0 for the share.
      min_clients: how many updates a round must have; fewer end the run.
      dropout: simulated chance that a client is lost between the choice and its update.
      stragglers: simulated chance that a client manages only a part of its local steps.
      straggler_steps: that part, rounded down, at least one step.
      placement: "pmap" over all devices, "map" on one, "sharded" with the parameters cut over all
        devices (for a model that outgrows one), "loop" in Python (for debugging).
      clients_at_once: clients that one device trains side by side; 1 skips the work of frozen
        layers, larger values vectorise, which pays for small models.
      clients_in_memory: clients of one device whose examples are held together; more pass through
        in groups, so that memory does not grow with the federation. 0 for all.
    """

    rounds: int
    budgets: tuple[int, ...]
    budget_unit: str
    absent: Mapping[str, tuple[int, ...]]
    participation: float
    participants: int
    min_clients: int
    dropout: float
    stragglers: float
    straggler_steps: float
    placement: str
    clients_at_once: int
    clients_in_memory: int

    def __post_init__(self) -> None:
        require(self.rounds >= 0, "federated.rounds", self.rounds, ">= 0")
        require(
            all(budget >= 1 for budget in self.budgets),
            "federated.budgets",
            self.budgets,
            "at least 1 each",
        )
        require(
            self.budget_unit in BUDGET_UNITS,
            "federated.budget_unit",
            self.budget_unit,
            f"one of {BUDGET_UNITS}",
        )
        require(
            self.placement in PLACEMENTS,
            "federated.placement",
            self.placement,
            f"one of {PLACEMENTS}",
        )
        at_once, in_memory = self.clients_at_once, self.clients_in_memory
        require(at_once >= 1, "federated.clients_at_once", at_once, ">= 1")
        allowed = f"0, or at least config.federated.clients_at_once = {at_once}"
        fits = in_memory == 0 or in_memory >= at_once
        require(fits, "federated.clients_in_memory", in_memory, allowed)
        self._check_participation()

    def _check_participation(self) -> None:
        share, count = self.participation, self.participants
        require(0 < share <= 1, "federated.participation", share, "above 0 and at most 1")
        require(count >= 0, "federated.participants", count, ">= 0")
        alone = not (count and share < 1)
        require(alone, "federated.participants", count, f"0 where participation = {share}")
        require(self.min_clients >= 1, "federated.min_clients", self.min_clients, ">= 1")
        for name in ("dropout", "stragglers"):
            rate = getattr(self, name)
            require(0 <= rate < 1, f"federated.{name}", rate, "at least 0 and below 1")
        part = self.straggler_steps
        require(0 < part <= 1, "federated.straggler_steps", part, "above 0 and at most 1")


@dataclasses.dataclass(frozen=True)
class DistributedConfig:
    """Several hosts that run one federation.

    Attributes:
      coordinator: "" for one host; "auto" where the hosts find each other, as those of a TPU VM or
        of a Slurm job do; or address and port of the first host.
      hosts: how many there are, with an address.
      host: which of them this is, from 0, with an address; differs from host to host.
    """

    coordinator: str
    hosts: int
    host: int

    def __post_init__(self) -> None:
        address, hosts = self.coordinator, self.hosts
        known = address in ("", "auto") or ":" in address
        require(known, "distributed.coordinator", address, '"", "auto" or an address with a port')
        require(hosts >= 1, "distributed.hosts", hosts, ">= 1")
        allowed = f"between 0 and {hosts - 1}, below config.distributed.hosts"
        require(0 <= self.host < hosts, "distributed.host", self.host, allowed)


RULES = ("mean", "median", "trimmed_mean")


@dataclasses.dataclass(frozen=True)
class AggregationConfig:
    """How the server makes one model of what the clients send back.

    Attributes:
      rule: "mean" (weighted by training examples, added up as clients come in), or "median" or
        "trimmed_mean" (coordinate by coordinate, for clients that are not trusted; every client
        counts once, and all updates of a round are held in memory).
      trimmed_share: of "trimmed_mean", the share of clients left out at each end.
      clip_norm: largest Euclidean norm of a client's change, layers and head together; longer ones
        are scaled down; 0 for any.
      optimizer: a key of `f3ocus_jax.aggregation.server_optimizer.OPTIMIZERS`; takes the
        change for a negative gradient.
      learning_rate: of the optimizer.
      momentum: of "fedavgm", and the first decay rate of "fedadam" and "fedyogi".
      second_momentum: the second decay rate of "fedadam" and "fedyogi".
      epsilon: added to the root of the second moment; how adaptive "fedadam" and "fedyogi" are.
    """

    rule: str
    trimmed_share: float
    clip_norm: float
    optimizer: str
    learning_rate: float
    momentum: float
    second_momentum: float
    epsilon: float

    def __post_init__(self) -> None:
        require(self.rule in RULES, "aggregation.rule", self.rule, f"one of {RULES}")
        share = self.trimmed_share
        require(0 <= share < 0.5, "aggregation.trimmed_share", share, "at least 0 and below 0.5")
        require(self.clip_norm >= 0, "aggregation.clip_norm", self.clip_norm, ">= 0")
        for name in ("learning_rate", "epsilon"):
            require(getattr(self, name) > 0, f"aggregation.{name}", getattr(self, name), "> 0")
        for name in ("momentum", "second_momentum"):
            rate = getattr(self, name)
            require(0 <= rate < 1, f"aggregation.{name}", rate, "at least 0 and below 1")
