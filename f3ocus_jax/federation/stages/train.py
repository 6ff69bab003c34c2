"""How does a round train its clients and take up what they send back?"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from flax import struct

from f3ocus_jax import hosts
from f3ocus_jax.aggregation import layerwise as aggregation, robust, server_optimizer
from f3ocus_jax.aggregation.layerwise import Change, Combined, Sums, TrainedLayers
from f3ocus_jax.aggregation.settings import AggregationConfig
from f3ocus_jax.clients import Choice, LocalTask, LocalUpdate, feddat, local, placement
from f3ocus_jax.clients.settings import TrainingConfig
from f3ocus_jax.data import order
from f3ocus_jax.data.examples import ClientData, stack
from f3ocus_jax.errors import RoundError
from f3ocus_jax.federation.participation import DROPPED_OUT, Participation
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.models import head as head_lib
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Array, Batch, Params, Rows, ServerState

Shared = tuple[Params, Rows, Params]
"""What every client gets: frozen parameters, selectable layers, head."""


@struct.dataclass
class Kept:
    """What the server keeps of one client's update once it is taken up.

    Attributes:
      losses_S: loss of every step; 0 for a step it skipped.
      finite: bool [], whether losses and change hold no NaN and no infinity.
      change: what it changed, if the rule needs all clients' changes together; None otherwise.
      personal_L: the client's own layers after training; None where there are none.
    """

    losses_S: Array
    finite: Array
    change: Change | None
    personal_L: Rows = None


Finish = Callable[[ServerState, Any, Kept | None, TrainedLayers], ServerState]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of every client in one round's training.

    Attributes:
      left_out: why the client's update was not used; None if it was.
      losses_KS: loss of every step; 0 where none was taken.
      steps_K: int32, steps taken; 0 of a client that did not train.
      straggled_K: bool, whether it took fewer steps than it should have.
    """

    left_out: list[str | None]
    losses_KS: np.ndarray
    steps_K: np.ndarray
    straggled_K: np.ndarray


class Training:
    """The compiled training stage of a run."""

    def __init__(
        self,
        config: ExperimentConfig,
        model: Model,
        clients: list[ClientData],
        participation: Participation,
    ) -> None:
        """Makes the stage.

        Args:
          config: of the run.
          model: the model.
          clients: the federation.
          participation: who takes part when.
        """
        self.config, self.clients, self.participation = config, clients, participation
        self.init, apply = server_optimizer.make_server_optimizer(config.aggregation)
        self._planned_K = np.array([self._steps(client) for client in clients], np.int32)
        self._mine_K = hosts.mine(len(clients))
        self._heads_K = np.array([head_lib.OF_TASK[client.task] for client in clients])
        self._train = placement.stream(
            train_one(config, model),
            make_fold(config.aggregation),
            most=min(participation.most, int(self._mine_K.sum())),
            placement=config.federated.placement,
            clients_at_once=config.federated.clients_at_once,
            clients_in_memory=config.federated.clients_in_memory,
        )
        self._finish = make_finish(config.aggregation, apply, participation.most)

    def run(
        self, shared: Shared, state: ServerState, layers_KR: np.ndarray, present_K: np.ndarray
    ) -> tuple[ServerState, Outcome]:
        """Trains the clients of a round and steps the server's model.

        Args:
          shared: what every client gets.
          state: of the server before the round.
          layers_KR: int32, the layers each client trains; L in places that are not in use.
          present_K: bool, who takes part.

        Returns:
          (the state with new layers, head and optimizer state, what became of the clients).

        Raises:
          RoundError: if fewer than `config.federated.min_clients` updates can be used.
        """
        number = int(state.round) + 1
        dropped_K = self.participation.dropped(number) & present_K
        places = np.flatnonzero(present_K & ~dropped_K & self._mine_K)
        steps_K = self.participation.steps(number, self._planned_K)
        weights_K = np.array([len(client.train) for client in self.clients], np.float32)

        def take(some: np.ndarray) -> tuple[LocalTask, TrainedLayers, np.ndarray]:
            who = places[some]
            personal_L = _rows(state.personal_KL, who)
            tasks = self._tasks(number, who, layers_KR, steps_K, personal_L)
            return tasks, self._trained(who, layers_KR, state.head), weights_K[who]

        totals, own = self._train(shared, len(places), take)
        places, kept = all_kept(places, own)
        outcome = self._outcome(places, dropped_K, steps_K, kept)
        self._check(number, present_K, outcome.left_out)
        trained = self._trained(places, layers_KR, state.head)
        personal_KL = state.personal_KL
        if personal_KL is not None and kept is not None:
            finite = np.asarray(kept.finite)
            new = _rows(kept.personal_L, finite)
            personal_KL = jax.tree.map(
                lambda all_K, some: with_rows(all_K, places[finite], some), personal_KL, new
            )
        state = dataclasses.replace(state, personal_KL=None)  # the server does not see these
        state = placement.settle(state, self.config.federated.placement)
        state = self._finish(state, totals, kept, trained)
        return dataclasses.replace(state, personal_KL=personal_KL), outcome

    def _tasks(
        self,
        number: int,
        places: np.ndarray,
        layers_KR: np.ndarray,
        steps_K: np.ndarray,
        personal_L: Rows,
    ) -> LocalTask:
        """Gathers what some clients train on; all in the same shapes, whoever they are."""
        batches = [
            self._batches(number, self.clients[place], int(self._planned_K.max()))
            for place in places
        ]
        return LocalTask(Choice(layers_KR[places]), stack(batches), steps_K[places], personal_L)

    def _trained(self, places: np.ndarray, layers_KR: np.ndarray, heads: Params) -> TrainedLayers:
        """Returns what some clients train, leading axis their number."""
        own = {name: self._heads_K[places] == name for name in heads}
        return TrainedLayers(layers_KR[places], own)

    def _batches(self, number: int, client: ClientData, steps: int) -> Batch:
        draw = order.generator(self.config.seed, number, client.name, "training")
        size = self.config.training.batch_size
        return client.train.batch(*order.training_indices(draw, len(client.train), steps, size))

    def _steps(self, client: ClientData) -> int:
        settings = self.config.training
        return order.local_steps(
            len(client.train),
            batch_size=settings.batch_size,
            local_epochs=settings.local_epochs,
            max_local_steps=settings.max_local_steps,
        )

    def _outcome(
        self, places: np.ndarray, dropped_K: np.ndarray, steps_K: np.ndarray, kept: Kept | None
    ) -> Outcome:
        losses_KS = np.zeros((len(self.clients), int(self._planned_K.max())), np.float32)
        left_out = [DROPPED_OUT if dropped else None for dropped in dropped_K]
        trained_K = np.zeros(len(self.clients), bool)
        if kept is not None:
            losses_KS[places], trained_K[places] = kept.losses_S, True
            for place in places[~np.asarray(kept.finite)]:
                left_out[place] = what_failed(losses_KS[place])
        steps_K = steps_K * trained_K
        return Outcome(left_out, losses_KS, steps_K, trained_K & (steps_K < self._planned_K))

    def _check(self, number: int, present_K: np.ndarray, left_out: list[str | None]) -> None:
        check_enough(number, self.clients, int(present_K.sum()), left_out, self.config)


def all_kept(places: np.ndarray, own: Kept | None) -> tuple[np.ndarray, Kept | None]:
    """Puts together what the hosts keep of their clients: (places of all, what is kept of all)."""
    places, kept = hosts.of_all_clients(places, own)
    if kept is None:
        return places, None
    change = None if kept["change"] is None else Change(**kept["change"])
    return places, Kept(kept["losses_S"], kept["finite"], change, kept["personal_L"])


def _rows(tree: Any, places: np.ndarray) -> Any:
    """Returns some clients' part of what all clients have, or None of None."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[places], tree)


def with_rows(all_K: Array, places: np.ndarray, some: Array) -> np.ndarray:
    """Returns a copy of what all clients have, with other values for some of them."""
    changed = np.array(all_K)
    changed[places] = some
    return changed


def check_enough(
    number: int,
    clients: list[ClientData],
    present: int,
    left_out: list[str | None],
    config: ExperimentConfig,
) -> None:
    """Raises RoundError if too few clients are left in a round.

    Args:
      number: of the round.
      clients: the federation.
      present: how many of them took part in the stage.
      left_out: why each of these cannot be used; None for all others.
      config: of the run.
    """
    failed = [
        f"client {client.name}, {reason}"
        for client, reason in zip(clients, left_out, strict=True)
        if reason
    ]
    left, least = present - len(failed), config.federated.min_clients
    if left < least:
        raise RoundError(
            f"round {number}, {'; '.join(failed)}: {left} clients are left, but "
            f"config.federated.min_clients = {least}; the checkpoints of earlier rounds "
            "stay; if losses are not finite, start again with a lower config.training."
            "learning_rate in a new workdir"
        )


def what_failed(losses_S: np.ndarray) -> str:
    """Says where a client's training went wrong."""
    bad = np.flatnonzero(~np.isfinite(losses_S))
    if len(bad):
        return f"step {bad[0] + 1}: the training loss is {losses_S[bad[0]]}"
    return "its layers are not finite after the last step"


def optimizer(settings: TrainingConfig) -> optax.GradientTransformation:
    """Returns the optimizer of local training."""
    return optax.adamw(settings.learning_rate, weight_decay=settings.weight_decay)


def train_one(config: ExperimentConfig, model: Model) -> Callable[..., LocalUpdate]:
    """Makes one client's training: (shared, (task, what it trains, weight)) -> LocalUpdate."""
    settings = config.training
    common: dict[str, Any] = {
        "loss": config.model.loss,
        "optimizer": optimizer(settings),
        "skip_frozen": config.federated.clients_at_once == 1,
        "rematerialise": settings.rematerialise,
    }
    if settings.dual_adapters:
        train = feddat.make_feddat_training(model, **common)
    else:
        train = local.make_local_training(
            model,
            unit=settings.unit,
            accumulate=settings.accumulate,
            precision=settings.precision,
            proximal=settings.proximal,
            **common,
        )

    def run(shared: Shared, one: tuple[LocalTask, TrainedLayers, Array]) -> LocalUpdate:
        return train(*shared, one[0])

    return run


def make_fold(settings: AggregationConfig) -> placement.Fold:
    """Makes what takes up one client's update; the clients' weights come with their tasks."""
    streams = settings.make("rule") is None

    def start(shared: Shared) -> Sums | tuple[()]:
        return aggregation.no_sums(shared[1], shared[2]) if streams else ()

    def add(total: Any, shared: Shared, one: Any, update: LocalUpdate) -> tuple[Any, Kept]:
        _, trained, weight = one
        _, rows_L, heads = shared
        change = aggregation.difference(rows_L, heads, trained, update.rows_R, update.head)
        personal_L = update.personal_L
        finite = aggregation.is_finite((change, update.losses_S, personal_L))
        change = aggregation.clipped(change, settings.clip_norm)
        if not streams:
            return total, Kept(update.losses_S, finite, change, personal_L)
        total = aggregation.add(total, change, trained, weight * finite)
        return total, Kept(update.losses_S, finite, None, personal_L)

    return placement.Fold(start, add)


def make_finish(settings: AggregationConfig, apply: server_optimizer.Apply, most: int) -> Finish:
    """Makes the step of the server.

    Args:
      settings: how updates are combined.
      apply: of the server's optimizer.
      most: the most clients of a round.

    Returns:
      (state, sums, kept, what each client trained) -> the state after the round.
    """

    @jax.jit
    def step(state: ServerState, combined: Combined) -> ServerState:
        rows_L, head, memory = apply(state.rows_L, state.head, state.optimizer, combined)
        done = state.round + 1
        return dataclasses.replace(state, rows_L=rows_L, head=head, round=done, optimizer=memory)

    @jax.jit
    def finish_sums(state: ServerState, sums: Sums) -> ServerState:
        return step(state, aggregation.mean(sums))

    def finish_all(state: ServerState, kept: Any, trained: TrainedLayers) -> ServerState:
        num_layers = jax.tree.leaves(state.rows_L)[0].shape[0]
        changes_K, counted_K, trained_K = jax.tree.map(
            lambda leaf: placement.filled(leaf, most), (kept.change, kept.finite, trained)
        )
        combined = robust.combine(centre, changes_K, trained_K, counted_K, num_layers=num_layers)
        return step(state, combined)

    centre = settings.make("rule")
    if centre is None:
        return lambda state, sums, kept, trained: finish_sums(state, sums)
    return lambda state, sums, kept, trained: finish_all(state, kept, trained)
