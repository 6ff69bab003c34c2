"""What happens in one round? Score, select, train, aggregate, evaluate."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from f3ocus_jax import decoding as decoding_lib, importance, inference, metrics, scoring, selection
from f3ocus_jax.aggregation import aggregate, aggregate_heads
from f3ocus_jax.budgets import Budgets
from f3ocus_jax.clients import Choice, LocalTask, LocalUpdate, local, placement
from f3ocus_jax.config import ExperimentConfig, choose
from f3ocus_jax.data import order
from f3ocus_jax.data.examples import ClientData
from f3ocus_jax.decoding import Decoding
from f3ocus_jax.importance import Importance
from f3ocus_jax.models import head as head_lib, trainable
from f3ocus_jax.models.base import Model
from f3ocus_jax.scoring import Score
from f3ocus_jax.types import (
    Array,
    Batch,
    ClientRecord,
    Params,
    RoundRecord,
    Rows,
    SelectionRecord,
    ServerState,
)

Shared = tuple[Params, Rows, Params]
"""What every client gets: frozen parameters, selectable layers, head."""

Notify = Callable[[int, str, int, int], None]
"""(round, stage, clients finished in it, clients in all); see `report.progress.Display`."""


class RoundError(RuntimeError):
    """A round that failed numerically: the message names round, client and step or layer."""


class Round:
    """The compiled stages of a round, made once per run."""

    def __init__(
        self,
        config: ExperimentConfig,
        model: Model,
        frozen: Params,
        clients: list[ClientData],
        budgets: Budgets,
        decoding: Decoding | None = None,
    ) -> None:
        """Makes the stages.

        Args:
          config: of the run.
          model: the model.
          frozen: its parameters that no client trains.
          clients: the federation; K of them.
          budgets: what each may train.
          decoding: how answers are written; None for a model with an answer head.

        Raises:
          ConfigError: for an unknown selection algorithm, pick or loss.
        """
        self.config, self.model, self.frozen, self.clients = config, model, frozen, clients
        self.budgets = budgets
        self.heads_K = [head_lib.OF_TASK[client.task] for client in clients]
        self._score = _make_score(config, model)
        self._train = _make_train(config, model)
        self._select = _make_select(config)
        how: dict[str, Any] = {
            "batch_size": config.evaluation.batch_size,
            "placement_name": config.federated.placement,
        }
        if decoding is None:
            self._predict = inference.create(model, loss=config.model.loss, **how)
        else:
            self._predict = decoding_lib.create(model, decoding, clients, **how)

    def evaluate_start(self, state: ServerState) -> RoundRecord:
        """Returns the record of round 0: the model before any training."""
        seconds: dict[str, float] = {}
        with _timed(seconds, "evaluation"):
            tests = self.evaluate(state)
        clients = [self._bystander_record(place, None, test) for place, test in enumerate(tests)]
        return _record(0, clients, None, seconds)

    def run(self, state: ServerState, notify: Notify) -> tuple[ServerState, RoundRecord]:
        """Runs the next round.

        Args:
          state: of the server after the last round.
          notify: is told when a stage starts and ends.

        Returns:
          (the server's state after this round, its record).

        Raises:
          RoundError: if a score or a loss is not finite.
        """
        number = int(state.round) + 1
        seconds: dict[str, float] = {}

        @contextlib.contextmanager
        def stage(name: str) -> Iterator[None]:
            notify(number, name, 0, len(self.clients))
            with _timed(seconds, name):
                yield
            notify(number, name, len(self.clients), len(self.clients))

        key = jax.random.fold_in(jax.random.key(self.config.seed), number)
        probe_key, selection_key = jax.random.split(key)
        with stage("importance"):
            scores = self._score_clients(state, number, probe_key)
        with stage("selection"):
            chosen = self._choose(state, number, scores.scores_L, selection_key)
        with stage("training"):
            layers_KR = layers_of(chosen.mask_KL, self.budgets.places)
            update, steps_K = self._train_clients(state, number, layers_KR)
            vectors_KLNC = self._kept_vectors(state, number, scores)
            state = self._aggregate(
                state, number, layers_KR, update, chosen.front_mask_PKL, vectors_KLNC
            )
        with stage("evaluation"):
            tests = self.evaluate(state)
        clients = [
            self._client_record(place, scores, chosen, update, int(steps_K[place]), test)
            if steps_K[place]
            else self._bystander_record(place, "absent", test)
            for place, test in enumerate(tests)
        ]
        return state, _record(number, clients, self._selection_record(chosen), seconds)

    def evaluate(self, state: ServerState) -> list[Score]:
        """Measures the global model on every client's test split.

        Returns:
          One score per client.

        Raises:
          RoundError: if a test loss is not finite.
        """
        params = trainable.join(self.frozen, state.rows_L, state.head, self.config.training.unit)
        scores = scoring.score(self._predict, params, self.clients)
        for client, score in zip(self.clients, scores, strict=True):
            if not np.isfinite(score.test.get("loss", 0.0)):
                raise _not_finite(int(state.round), client, "the test loss is not finite")
        return scores

    def _shared(self, state: ServerState) -> Shared:
        return self.frozen, state.rows_L, state.head

    def _score_clients(self, state: ServerState, number: int, key: jax.Array) -> Importance:
        batches = []
        for client, present in zip(self.clients, self.budgets.present(number), strict=True):
            drawn_in = 0 if self.config.importance.warm_start else number
            draw = order.generator(self.config.seed, drawn_in, client.name, "probe")
            probe = draw.permutation(len(client.train))[: self.config.importance.probe_examples]
            # Without examples every gradient is zero, and so is the kernel, in one product.
            batches.append(client.train.batch(probe, np.full(len(probe), present, np.float32)))
        keys_K = jax.random.key_data(jax.random.split(key, len(self.clients)))
        own: tuple[Any, ...] = (_stack(batches), keys_K)
        if state.vectors_KLNC is not None:
            own = (*own, np.asarray(state.vectors_KLNC))
        scores = self._score(self._shared(state), own)
        for client, values_L in zip(self.clients, scores.values_L, strict=True):
            for layer in np.flatnonzero(~np.isfinite(values_L)):
                name = self.config.importance.score
                place = f"layer {layer}: the score {name} is {values_L[layer]}"
                raise _not_finite(number, client, place)
        return scores

    def _kept_vectors(
        self, state: ServerState, number: int, scores: Importance
    ) -> np.ndarray | None:
        """Returns every client's newest eigenvectors; those of an absent client stay."""
        if state.vectors_KLNC is None:
            return None
        present = self.budgets.present(number)[:, None, None, None]
        return np.where(present, np.asarray(scores.vectors_LNC), np.asarray(state.vectors_KLNC))

    def _choose(
        self, state: ServerState, number: int, scores_KL: Array, key: jax.Array
    ) -> selection.Selection:
        limits = self.budgets.limits(number, scores_KL)
        budgets_K = jnp.asarray(self.budgets.budgets_K)
        return jax.device_get(self._select(key, scores_KL, budgets_K, state.front_mask_PKL, limits))

    def _train_clients(
        self, state: ServerState, number: int, layers_KR: np.ndarray
    ) -> tuple[LocalUpdate, np.ndarray]:
        most_K = np.array([self._steps(client) for client in self.clients], np.int32)
        steps_K = most_K * self.budgets.present(number)
        batches = []
        for client in self.clients:
            draw = order.generator(self.config.seed, number, client.name, "training")
            indices_SB, mask_SB = order.training_indices(
                draw, len(client.train), int(most_K.max()), self.config.training.batch_size
            )
            batches.append(client.train.batch(indices_SB, mask_SB))
        task = LocalTask(Choice(layers_KR), _stack(batches), steps_K)
        update = self._train(self._shared(state), task)
        for client, losses_S in zip(self.clients, update.losses_S, strict=True):
            for step in np.flatnonzero(~np.isfinite(losses_S)):
                place = f"step {step + 1}: the training loss is {losses_S[step]}"
                raise _not_finite(number, client, place)
        return update, steps_K

    def _steps(self, client: ClientData) -> int:
        settings = self.config.training
        return order.local_steps(
            len(client.train),
            batch_size=settings.batch_size,
            local_epochs=settings.local_epochs,
            max_local_steps=settings.max_local_steps,
        )

    def _aggregate(
        self,
        state: ServerState,
        number: int,
        layers_KR: np.ndarray,
        update: LocalUpdate,
        front_mask_PKL: Array,
        vectors_KLNC: Array | None,
    ) -> ServerState:
        weights_K = np.array([len(client.train) for client in self.clients], np.float32)
        weights_K *= self.budgets.present(number)
        return ServerState(
            rows_L=aggregate(state.rows_L, layers_KR, weights_K, update.rows_R),
            head=aggregate_heads(state.head, self.heads_K, weights_K, update.head),
            round=jnp.int32(number),
            front_mask_PKL=front_mask_PKL,
            vectors_KLNC=vectors_KLNC,
        )

    def _bystander_record(self, place: int, left_out: str | None, score: Score) -> ClientRecord:
        """Returns the record of a client that trained nothing."""
        return ClientRecord(
            client=self.clients[place].name,
            train_examples=len(self.clients[place].train),
            budget=int(self.budgets.budgets_K[place]),
            left_out=left_out,
            values=[],
            residuals=[],
            scores=[],
            own_layers=[],
            layers=[],
            train_loss=None,
            test=score.test,
            thresholds=score.thresholds,
        )

    def _client_record(
        self,
        place: int,
        scores: Importance,
        chosen: selection.Selection,
        update: LocalUpdate,
        steps: int,
        score: Score,
    ) -> ClientRecord:
        client = self.clients[place]
        return ClientRecord(
            client=client.name,
            train_examples=len(client.train),
            budget=int(self.budgets.budgets_K[place]),
            left_out=None,
            values=scores.values_L[place].tolist(),
            residuals=[] if scores.residuals_L is None else scores.residuals_L[place].tolist(),
            scores=scores.scores_L[place].tolist(),
            own_layers=np.flatnonzero(chosen.own_mask_KL[place]).tolist(),
            layers=np.flatnonzero(chosen.mask_KL[place]).tolist(),
            train_loss=float(np.mean(update.losses_S[place, :steps], dtype=np.float64)),
            test=score.test,
            ranks=chosen.ranks_KL[place].tolist(),
            unconverged=[]
            if scores.converged_L is None
            else np.flatnonzero(~scores.converged_L[place]).tolist(),
            thresholds=score.thresholds,
        )

    def _selection_record(self, chosen: selection.Selection) -> SelectionRecord:
        front_PM = np.asarray(chosen.front_objectives_PM, np.float64)
        ascending = np.argsort(front_PM[:, 0], kind="stable")
        order_P = [int(place) for place in ascending if chosen.front_valid_P[place]]
        return SelectionRecord(
            score=self.config.importance.score,
            algorithm=self.config.selection.algorithm,
            front=[(float(front_PM[place, 0]), float(front_PM[place, 1])) for place in order_P],
            pick=order_P.index(int(chosen.pick)),
            own_point=(float(chosen.own_objectives_M[0]), float(chosen.own_objectives_M[1])),
            hypervolume=float(chosen.hypervolume),
        )


def layers_of(mask_KL: Array, places: int) -> np.ndarray:
    """Lists every client's layers.

    Args:
      mask_KL: bool, who trains which layer.
      places: R, at least the largest number of layers of one client.

    Returns:
      layers_KR, int32, ascending; L in places that are not in use.
    """
    clients, num_layers = mask_KL.shape
    layers_KR = np.full((clients, places), num_layers, np.int32)
    for row_R, row_L in zip(layers_KR, mask_KL, strict=True):
        chosen = np.flatnonzero(row_L)
        row_R[: len(chosen)] = chosen
    return layers_KR


def _make_score(config: ExperimentConfig, model: Model) -> Callable[..., Importance]:
    settings = config.importance
    score = choose("importance.score", settings.score, importance.SCORES)(
        model,
        unit=config.training.unit,
        loss=config.model.loss,
        optimizer=_optimizer(config),
        **dataclasses.asdict(settings),
    )

    def score_one(shared: Shared, one: tuple[Any, ...]) -> Importance:
        batch, key_data, *warm = one
        return score(*shared, batch, jax.random.wrap_key_data(key_data), *warm)

    return placement.create(score_one, placement=config.federated.placement)


def _make_train(config: ExperimentConfig, model: Model) -> Callable[..., LocalUpdate]:
    settings = config.training
    train = local.create(
        model,
        unit=settings.unit,
        loss=config.model.loss,
        optimizer=_optimizer(config),
        skip_frozen=config.federated.clients_at_once == 1,
        rematerialise=settings.rematerialise,
        accumulate=settings.accumulate,
        precision=settings.precision,
    )

    def train_one(shared: Shared, task: LocalTask) -> LocalUpdate:
        return train(*shared, task)

    return placement.create(
        train_one,
        placement=config.federated.placement,
        clients_at_once=config.federated.clients_at_once,
    )


def _optimizer(config: ExperimentConfig) -> optax.GradientTransformation:
    settings = config.training
    return optax.adamw(settings.learning_rate, weight_decay=settings.weight_decay)


def _make_select(config: ExperimentConfig) -> selection.Select:
    settings = config.selection
    choose("selection.algorithm", settings.algorithm, selection.SELECTORS)
    choose("selection.pick", settings.pick, selection.PICKS)
    return selection.create(
        settings.algorithm,
        population=settings.population,
        generations=settings.generations,
        pick=settings.pick,
        pick_value=settings.pick_value,
    )


def _not_finite(number: int, client: ClientData, what: str) -> RoundError:
    return RoundError(
        f"round {number}, client {client.name}, {what}; the checkpoints of earlier rounds stay, "
        "start again with a lower config.training.learning_rate in a new workdir"
    )


def _record(
    number: int,
    clients: list[ClientRecord],
    chosen: SelectionRecord | None,
    seconds: dict[str, float],
) -> RoundRecord:
    return RoundRecord(
        round=number,
        accuracy=float(np.mean([metrics.main(client.test) for client in clients])),
        loss=float(np.mean([client.test["loss"] for client in clients if "loss" in client.test])),
        clients=clients,
        selection=chosen,
        seconds=seconds,
    )


def _stack(batches: Sequence[Batch]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *batches)


@contextlib.contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 4)
