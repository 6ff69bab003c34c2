"""What happens in one round? Score, select, train, aggregate, evaluate."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax import hosts, selection
from f3ocus_jax.clients import placement
from f3ocus_jax.config import choose
from f3ocus_jax.data.examples import ClientData
from f3ocus_jax.errors import RoundError
from f3ocus_jax.evaluation import (
    accuracy,
    client_metrics,
    inference,
    written_answers as decoding_lib,
)
from f3ocus_jax.evaluation.client_metrics import ClientMetrics
from f3ocus_jax.evaluation.written_answers import Decoding
from f3ocus_jax.federation.budgets import Budgets
from f3ocus_jax.federation.stages.score import Probing
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.federation.stages.train import Outcome, Shared, Training
from f3ocus_jax.importance import Importance
from f3ocus_jax.models import units
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Array, ClientRecord, Params, RoundRecord, SelectionRecord, ServerState

Notify = Callable[[int, str, int, int], None]
"""(round, stage, clients finished in it, clients in all); see `report.progress.Display`."""


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
        self.config, self.model, self.clients, self.budgets = config, model, clients, budgets
        self.frozen = placement.spread(frozen, config.federated.placement)
        self._probing = Probing(config, model, clients, budgets.participation)
        self._training = Training(config, model, clients, budgets.participation)
        self._select = _make_select(config)
        how: dict[str, Any] = {
            "batch_size": config.evaluation.batch_size,
            "placement_name": config.federated.placement,
        }
        if decoding is None:
            self._predict = inference.make_predict(model, loss=config.model.loss, **how)
        else:
            self._predict = decoding_lib.make_written_predict(model, decoding, clients, **how)

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
          RoundError: if too few clients are left, or the new model's test loss is not finite.
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
        left_out = self.budgets.participation.reasons(number)
        with stage("importance"):
            scores, failed, vectors_KLNC = self._probing.run(self._shared(state), state, probe_key)
        left_out = [first or second for first, second in zip(left_out, failed, strict=True)]
        present_K = np.array([reason is None for reason in left_out])
        with stage("selection"):
            chosen = self._choose(state, number, present_K, scores.scores_L, selection_key)
        with stage("training"):
            layers_KR = layers_of(chosen.mask_KL, self.budgets.places)
            state, outcome = self._training.run(self._shared(state), state, layers_KR, present_K)
            front = chosen.front_mask_PKL
            state = dataclasses.replace(state, front_mask_PKL=front, vectors_KLNC=vectors_KLNC)
        with stage("evaluation"):
            tests = self.evaluate(state)
        left_out = [a or b for a, b in zip(left_out, outcome.left_out, strict=True)]
        clients = [
            self._bystander_record(place, left_out[place], test)
            if left_out[place]
            else self._client_record(place, scores, chosen, outcome, test)
            for place, test in enumerate(tests)
        ]
        return state, _record(number, clients, self._selection_record(chosen), seconds)

    def evaluate(self, state: ServerState) -> list[ClientMetrics]:
        """Measures the global model on every client's test split.

        Returns:
          One score per client.

        Raises:
          RoundError: if a test loss is not finite.
        """
        params = units.join(self.frozen, state.rows_L, state.head, self.config.training.unit)
        here = hosts.of_this_host(self.clients)
        own = {
            client.name: dataclasses.asdict(score)
            for client, score in zip(
                here, client_metrics.score(self._predict, params, here), strict=True
            )
        }
        every = {name: one for part in hosts.exchange(own) for name, one in part.items()}
        scores = [ClientMetrics(**every[client.name]) for client in self.clients]
        # Every host looks at every client, so that all of them stop at the same place.
        for client, score in zip(self.clients, scores, strict=True):
            if not np.isfinite(score.test.get("loss", 0.0)):
                raise _not_finite(int(state.round), client, "the test loss is not finite")
        return scores

    def _shared(self, state: ServerState) -> Shared:
        return self.frozen, state.rows_L, state.head

    def _choose(
        self,
        state: ServerState,
        number: int,
        present_K: np.ndarray,
        scores_KL: Array,
        key: jax.Array,
    ) -> selection.Selection:
        try:
            limits = self.budgets.limits(present_K, scores_KL)
        except selection.InfeasibleError as error:
            raise RoundError(f"round {number}: {error}; clients have failed in it") from error
        budgets_K = jnp.asarray(self.budgets.budgets_K)
        return jax.device_get(self._select(key, scores_KL, budgets_K, state.front_mask_PKL, limits))

    def _bystander_record(
        self, place: int, left_out: str | None, score: ClientMetrics
    ) -> ClientRecord:
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
        outcome: Outcome,
        score: ClientMetrics,
    ) -> ClientRecord:
        client, steps = self.clients[place], int(outcome.steps_K[place])
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
            train_loss=float(np.mean(outcome.losses_KS[place, :steps], dtype=np.float64)),
            test=score.test,
            ranks=chosen.ranks_KL[place].tolist(),
            unconverged=[]
            if scores.converged_L is None
            else np.flatnonzero(~scores.converged_L[place]).tolist(),
            thresholds=score.thresholds,
            steps=steps,
            straggled=bool(outcome.straggled_K[place]),
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


def _make_select(config: ExperimentConfig) -> selection.Select:
    settings = config.selection
    choose("selection.algorithm", settings.algorithm, selection.SELECTORS)
    choose("selection.pick", settings.pick, selection.PICKS)
    return selection.make_selector(
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
        accuracy=float(np.mean([accuracy.main(client.test) for client in clients])),
        loss=float(np.mean([client.test["loss"] for client in clients if "loss" in client.test])),
        clients=clients,
        selection=chosen,
        seconds=seconds,
    )


@contextlib.contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 4)
