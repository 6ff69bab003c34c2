"""Client's half of a round: score its layers, then train the layers chosen for it.

The simulator maps these functions over all clients; a deployed client calls them for itself. The
first result of each function is sent to the server, the second one stays with the client.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from f3ocus_jax.aggregation.layerwise import is_finite
from f3ocus_jax.clients import LocalTask, feddat, local
from f3ocus_jax.clients.settings import TrainingConfig
from f3ocus_jax.config.kept import kept
from f3ocus_jax.importance import Importance, ScoreContext
from f3ocus_jax.importance.settings import ImportanceConfig
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Array, Batch, ClientMemory, Params, Rows

Shared = tuple[Params, Rows, Params]
"""Parameters that every client receives: (frozen, rows_L, head)."""


@struct.dataclass
class ClientUpdate:
    """Result of one client's local training, as sent to the server.

    Attributes:
      rows_R: Chosen layers after training; unused slots are meaningless.
      head: Answer head after training.
      losses_S: float32, loss of every step before it is taken; 0 for a step that was skipped.
      finite: bool [], False if personal layers became NaN or infinite, which the server cannot see.
    """

    rows_R: Rows
    head: Params
    losses_S: Array
    finite: Array


Score = Callable[[Shared, ClientMemory, Batch, jax.Array], tuple[Importance, ClientMemory]]
Train = Callable[[Shared, ClientMemory, LocalTask], tuple[ClientUpdate, ClientMemory]]


@dataclasses.dataclass(frozen=True)
class ClientSide:
    """Pure functions of one client, to be called under `jax.jit`.

    Attributes:
      score: (shared, memory, probe batch, key) -> (importance of every layer, memory).
      train: (shared, memory, task) -> (update, memory).
    """

    score: Score
    train: Train


@kept
def make_client_side(
    model: Model,
    *,
    importance: ImportanceConfig,
    training: TrainingConfig,
    loss: str,
    skip_frozen: bool,
) -> ClientSide:
    """Makes the client's half of a round.

    Args:
      model: The model.
      importance: Settings of the score.
      training: Settings of local training.
      loss: A key of `losses.LOSSES`.
      skip_frozen: If True, frozen layers are skipped at run time, see `gradient.make_forward`.

    Returns:
      The client's functions.
    """
    return ClientSide(
        score=_make_score(model, importance, training, loss),
        train=_make_train(model, training, loss, skip_frozen),
    )


def make_local_optimizer(settings: TrainingConfig) -> optax.GradientTransformation:
    """Makes the optimizer of local training."""
    return optax.adamw(settings.learning_rate, weight_decay=settings.weight_decay)


def make_score_context(
    model: Model, settings: ImportanceConfig, training: TrainingConfig, loss: str
) -> ScoreContext:
    """Makes the parts of a run that scores are made from."""
    return ScoreContext(
        model=model,
        unit=training.unit,
        loss=loss,
        optimizer=make_local_optimizer(training),
        reduction=settings.reduction,
        probe_batches=settings.probe_batches,
    )


def _make_score(
    model: Model, settings: ImportanceConfig, training: TrainingConfig, loss: str
) -> Score:
    context = make_score_context(model, settings, training, loss)
    measure = settings.make("score", context)

    def score(
        shared: Shared, memory: ClientMemory, batch: Batch, key: jax.Array
    ) -> tuple[Importance, ClientMemory]:
        if memory.vectors_LNC is None:
            return measure(*shared, batch, key), memory
        found = measure(*shared, batch, key, memory.vectors_LNC)
        memory = dataclasses.replace(memory, vectors_LNC=found.vectors_LNC)
        return dataclasses.replace(found, vectors_LNC=None), memory

    return score


def _make_train(model: Model, settings: TrainingConfig, loss: str, skip_frozen: bool) -> Train:
    common: dict[str, Any] = {
        "loss": loss,
        "optimizer": make_local_optimizer(settings),
        "skip_frozen": skip_frozen,
        "rematerialise": settings.rematerialise,
    }
    if settings.dual_adapters:
        run = feddat.make_feddat_training(model, **common)
    else:
        run = local.make_local_training(
            model,
            unit=settings.unit,
            accumulate=settings.accumulate,
            precision=settings.precision,
            proximal=settings.proximal,
            **common,
        )

    def train(
        shared: Shared, memory: ClientMemory, task: LocalTask
    ) -> tuple[ClientUpdate, ClientMemory]:
        made = run(*shared, dataclasses.replace(task, personal_L=memory.personal_L))
        finite = jnp.bool_(True)
        if memory.personal_L is not None:
            finite = is_finite(made)
            personal_L = jax.tree.map(
                lambda after, before: jnp.where(finite, after, before),
                made.personal_L,
                memory.personal_L,
            )
            memory = dataclasses.replace(memory, personal_L=personal_L)
        return ClientUpdate(made.rows_R, made.head, made.losses_S, finite), memory

    return train
