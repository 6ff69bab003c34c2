"""How does a round score the layers of its clients?"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from f3ocus_jax import hosts, importance
from f3ocus_jax.clients import placement
from f3ocus_jax.config import choose
from f3ocus_jax.data import order
from f3ocus_jax.data.examples import ClientData, stack
from f3ocus_jax.federation.participation import Participation
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.federation.stages.train import Shared, check_enough, optimizer, with_rows
from f3ocus_jax.importance import Importance
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Array, Batch, ServerState


class Probing:
    """The compiled scoring stage of a run."""

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

        Raises:
          ConfigError: for an unknown score.
        """
        self.config, self.clients, self.participation = config, clients, participation
        self._mine_K = hosts.mine(len(clients))
        self._score = placement.stream(
            score_one(config, model),
            placement.KEEP_ALL,
            most=min(participation.most, int(self._mine_K.sum())),
            placement=config.federated.placement,
            clients_in_memory=config.federated.clients_in_memory,
        )

    def run(
        self, shared: Shared, state: ServerState, key: jax.Array
    ) -> tuple[Importance, list[str | None], Array | None]:
        """Scores the clients that take part; the others' layers all get the same share.

        Args:
          shared: what every client gets.
          state: of the server before the round.
          key: for scores that draw.

        Returns:
          (scores of all clients, why the score of a client cannot be used, their eigenvectors for
          the next round's start: those of a client that was not scored stay).

        Raises:
          RoundError: if fewer than `config.federated.min_clients` scores can be used.
        """
        number, count = int(state.round) + 1, len(self.clients)
        places = np.flatnonzero(self.participation.present(number) & self._mine_K)
        keys_K = jax.random.key_data(jax.random.split(key, count))
        warm = () if state.vectors_KLNC is None else (np.asarray(state.vectors_KLNC),)

        def take(some: np.ndarray) -> tuple[Any, ...]:
            who = places[some]
            batches = stack([self._probe(number, self.clients[place]) for place in who])
            return batches, keys_K[who], *(vectors_KLNC[who] for vectors_KLNC in warm)

        _, own = self._score(shared, len(places), take)
        places, found = hosts.of_all_clients(places, own)
        scored = Importance(**found)
        failed = self._failed(number, places, scored)
        vectors = None if not warm else with_rows(warm[0], places, scored.vectors_LNC)
        return _for_all(scored, places, count), failed, vectors

    def _probe(self, number: int, client: ClientData) -> Batch:
        settings = self.config.importance
        drawn_in = 0 if settings.warm_start else number  # eigenvectors belong to the examples
        draw = order.generator(self.config.seed, drawn_in, client.name, "probe")
        return client.train.batch(draw.permutation(len(client.train))[: settings.probe_examples])

    def _failed(self, number: int, places: np.ndarray, scored: Importance) -> list[str | None]:
        """Says of every client why its score cannot be used."""
        failed: list[str | None] = [None] * len(self.clients)
        for place, values_L in zip(places, scored.values_L, strict=True):
            for layer in np.flatnonzero(~np.isfinite(values_L))[:1]:
                name = self.config.importance.score
                failed[place] = f"layer {layer}: the score {name} is {values_L[layer]}"
        check_enough(number, self.clients, len(places), failed, self.config)
        return failed


def score_one(config: ExperimentConfig, model: Model) -> Callable[..., Importance]:
    """Makes one client's scoring: (shared, (probe, key data, start if warm)) -> Importance."""
    score = choose("importance.score", config.importance.score, importance.SCORES)(
        model,
        unit=config.training.unit,
        loss=config.model.loss,
        optimizer=optimizer(config.training),
        **dataclasses.asdict(config.importance),
    )

    def run(shared: Shared, one: tuple[Any, ...]) -> Importance:
        batch, key_data, *warm = one
        return score(*shared, batch, jax.random.wrap_key_data(key_data), *warm)

    return run


def _for_all(scored: Importance, places: np.ndarray, count: int) -> Importance:
    """Gives clients that were not scored equal shares, and values and residuals of 0."""

    def widen(leaf: np.ndarray) -> np.ndarray:
        return with_rows(np.zeros((count, *leaf.shape[1:]), leaf.dtype), places, leaf)

    others_K = np.isin(np.arange(count), places, invert=True)
    wide = jax.tree.map(widen, scored)
    wide.scores_L[others_K] = 1.0 / wide.scores_L.shape[1]
    return wide
