"""What happens in one round? Score, select, train, aggregate, evaluate."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax

from f3ocus_jax import importance, inference, metrics, selection
from f3ocus_jax.aggregation import aggregate, aggregate_head
from f3ocus_jax.clients import Choice, LocalTask, LocalUpdate, local, placement
from f3ocus_jax.config import ExperimentConfig
from f3ocus_jax.data import order
from f3ocus_jax.data.examples import ClientData, concatenate
from f3ocus_jax.models import trainable
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import (
    Batch,
    ClientRecord,
    Params,
    RoundRecord,
    SelectionRecord,
    ServerState,
)


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
    ) -> None:
        """Makes the stages.

        Args:
          config: of the run.
          model: the model.
          frozen: its parameters that no client trains.
          clients: the federation; K of them.

        Raises:
          ConfigError: for budgets that do not fit the model or the number of clients.
        """
        self.config, self.model, self.frozen, self.clients = config, model, frozen, clients
        budgets = config.budgets_for(len(clients), model.num_layers)
        self.budgets_K = np.array(budgets, np.int32)
        self.tests = concatenate([client.test for client in clients])
        self._score = self._spread(self._make_score())
        self._train = self._spread(self._make_train(), config.federated.clients_at_once)
        self._select = selection.create(
            config.selection.algorithm,
            population=config.selection.population,
            generations=config.selection.generations,
            pick=config.selection.pick,
        )
        self._predict = inference.create(
            model,
            loss=config.model.loss,
            batch_size=config.evaluation.batch_size,
            placement_name=config.federated.placement,
        )

    def evaluate_start(self, state: ServerState) -> RoundRecord:
        """Returns the record of round 0: the model before any training."""
        seconds: dict[str, float] = {}
        with _timed(seconds, "evaluation"):
            tests = self.evaluate(state)
        clients = [
            ClientRecord(data.name, len(data.train), int(budget), [], [], [], [], [], None, test)
            for data, budget, test in zip(self.clients, self.budgets_K, tests, strict=True)
        ]
        return _record(0, clients, None, seconds)

    def run(self, state: ServerState) -> tuple[ServerState, RoundRecord]:
        """Runs the next round.

        Args:
          state: of the server after the last round.

        Returns:
          (the server's state after this round, its record).

        Raises:
          RoundError: if an eigenvalue or a loss is not finite.
        """
        number, seconds = int(state.round) + 1, {}
        with _timed(seconds, "importance"):
            scores = self._score_clients(state, number)
        with _timed(seconds, "selection"):
            key = jax.random.fold_in(jax.random.key(self.config.seed), number)
            choice = jax.block_until_ready(
                self._select(key, scores.scores_L, self.budgets_K, state.front_mask_PKL)
            )
        with _timed(seconds, "training"):
            layers_KR = layers_of(np.asarray(choice.mask_KL), int(self.budgets_K.max()))
            update, steps_K = self._train_clients(state, number, layers_KR)
            state = self._aggregate(state, layers_KR, update)
            state = state.replace(
                round=jnp.int32(number), front_mask_PKL=np.asarray(choice.front_mask_PKL)
            )
        with _timed(seconds, "evaluation"):
            tests = self.evaluate(state)
        clients = self._client_records(scores, choice, update, steps_K, tests)
        return state, _record(number, clients, self._selection_record(choice), seconds)

    def evaluate(self, state: ServerState) -> list[dict[str, float]]:
        """Measures the global model on every client's test split.

        Raises:
          RoundError: if a test loss is not finite.
        """
        params = trainable.join(self.frozen, state.rows_L, state.head, self.config.training.unit)
        predictions, losses = self._predict(params, self.tests)
        reports, start = [], 0
        for client in self.clients:
            part = slice(start, start + len(client.test))
            start = part.stop
            if not np.all(np.isfinite(losses[part])):
                raise RoundError(
                    f"round {int(state.round)}, client {client.name}: the test loss is not finite; "
                    "lower config.training.learning_rate"
                )
            reports.append(
                metrics.accuracy_report(
                    predictions[part],
                    client.test.labels_N,
                    client.test.answer_types,
                    client.test.question_types,
                    losses[part],
                )
            )
        return reports

    def _spread(self, function, clients_at_once: int = 1):
        name = self.config.federated.placement
        return placement.create(function, placement=name, clients_at_once=clients_at_once)

    def _make_score(self):
        settings = self.config.importance
        score = importance.SCORES["lntk"](
            self.model,
            unit=self.config.training.unit,
            tolerance=settings.tolerance,
            max_iterations=settings.max_iterations,
        )

        def score_one(shared: tuple, one: tuple[Batch, jax.Array]) -> importance.Importance:
            batch, key_data = one
            return score(*shared, batch, jax.random.wrap_key_data(key_data))

        return score_one

    def _make_train(self):
        settings = self.config.training
        train = local.create(
            self.model,
            unit=settings.unit,
            loss=self.config.model.loss,
            optimizer=optax.adamw(settings.learning_rate, weight_decay=settings.weight_decay),
            skip_frozen=self.config.federated.clients_at_once == 1,
        )
        return lambda shared, task: train(*shared, task)

    def _shared(self, state: ServerState) -> tuple:
        return self.frozen, state.rows_L, state.head

    def _score_clients(self, state: ServerState, number: int) -> importance.Importance:
        batches = []
        for client in self.clients:
            draw = order.generator(self.config.seed, number, client.name, "probe")
            chosen = draw.choice(len(client.train), self.config.importance.probe_examples, False)
            batches.append(client.train.batch(chosen))
        keys = jax.random.split(jax.random.fold_in(jax.random.key(self.config.seed), number), 2)
        keys_K = jax.random.split(keys[1], len(self.clients))
        scores = self._score(self._shared(state), (_stack(batches), jax.random.key_data(keys_K)))
        for client, values_L in zip(self.clients, scores.eigenvalues_L, strict=True):
            if not np.all(np.isfinite(values_L)):
                layer = int(np.flatnonzero(~np.isfinite(values_L))[0])
                raise RoundError(
                    f"round {number}, client {client.name}, layer {layer}: the eigenvalue is "
                    f"{values_L[layer]}; lower config.training.learning_rate"
                )
        return scores

    def _train_clients(
        self, state: ServerState, number: int, layers_KR: np.ndarray
    ) -> tuple[LocalUpdate, np.ndarray]:
        settings = self.config.training
        steps_K = np.array(
            [
                order.local_steps(
                    len(client.train),
                    batch_size=settings.batch_size,
                    local_epochs=settings.local_epochs,
                    max_local_steps=settings.max_local_steps,
                )
                for client in self.clients
            ],
            np.int32,
        )
        batches = []
        for client in self.clients:
            draw = order.generator(self.config.seed, number, client.name, "training")
            indices_SB, mask_SB = order.training_indices(
                draw, len(client.train), int(steps_K.max()), settings.batch_size
            )
            batches.append(client.train.batch(indices_SB, mask_SB))
        task = LocalTask(Choice(layers_KR), _stack(batches), steps_K)
        update = self._train(self._shared(state), task)
        for client, losses_S in zip(self.clients, update.losses_S, strict=True):
            if not np.all(np.isfinite(losses_S)):
                step = int(np.flatnonzero(~np.isfinite(losses_S))[0]) + 1
                raise RoundError(
                    f"round {number}, client {client.name}, step {step}: the training loss is "
                    f"{losses_S[step - 1]}; lower config.training.learning_rate"
                )
        return update, steps_K

    def _aggregate(
        self, state: ServerState, layers_KR: np.ndarray, update: LocalUpdate
    ) -> ServerState:
        weights_K = np.array([len(client.train) for client in self.clients], np.float32)
        return state.replace(
            rows_L=aggregate(state.rows_L, layers_KR, weights_K, update.rows_R),
            head=aggregate_head(state.head, weights_K, update.head),
        )

    def _client_records(self, scores, choice, update, steps_K, tests) -> list[ClientRecord]:
        own_KL, mask_KL = np.asarray(choice.own_mask_KL), np.asarray(choice.mask_KL)
        return [
            ClientRecord(
                client=client.name,
                train_examples=len(client.train),
                budget=int(self.budgets_K[k]),
                eigenvalues=scores.eigenvalues_L[k].tolist(),
                residuals=scores.residuals_L[k].tolist(),
                scores=scores.scores_L[k].tolist(),
                own_layers=np.flatnonzero(own_KL[k]).tolist(),
                layers=np.flatnonzero(mask_KL[k]).tolist(),
                train_loss=float(np.mean(update.losses_S[k, : steps_K[k]], dtype=np.float64)),
                test=tests[k],
            )
            for k, client in enumerate(self.clients)
        ]

    def _selection_record(self, choice) -> SelectionRecord:
        valid_P = np.asarray(choice.front_valid_P)
        front_PM = np.asarray(choice.front_objectives_PM, np.float64)
        order_P = [p for p in np.argsort(front_PM[:, 0], kind="stable") if valid_P[p]]
        return SelectionRecord(
            algorithm=self.config.selection.algorithm,
            front=[tuple(front_PM[p].tolist()) for p in order_P],
            pick=order_P.index(int(choice.pick)),
            own_point=tuple(np.asarray(choice.own_objectives_M, np.float64).tolist()),
            hypervolume=float(choice.hypervolume),
        )


def layers_of(mask_KL: np.ndarray, places: int) -> np.ndarray:
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


def _record(number, clients, chosen, seconds) -> RoundRecord:
    return RoundRecord(
        round=number,
        accuracy=float(np.mean([client.test["accuracy"] for client in clients])),
        loss=float(np.mean([client.test["loss"] for client in clients if "loss" in client.test])),
        clients=clients,
        selection=chosen,
        seconds=seconds,
    )


def _stack(batches: list[Batch]) -> Batch:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *batches)


@contextlib.contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 4)


_ = dataclasses
