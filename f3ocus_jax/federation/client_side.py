"""Client's half of a round: score its layers, then train the layers chosen for it.

The simulator maps these functions over all clients; a deployed client calls them for itself. The
first result of each function is sent to the server, the second one stays with the client.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from f3ocus_jax.aggregation.layerwise import is_finite
from f3ocus_jax.clients import LocalTask, controls, feddat, local
from f3ocus_jax.clients.local import LocalUpdate
from f3ocus_jax.clients.settings import DECAY_MATRICES, SGD, TrainingConfig
from f3ocus_jax.config.kept import kept
from f3ocus_jax.federation.private_runs import has_private_scores
from f3ocus_jax.importance import Importance, ScoreContext
from f3ocus_jax.importance.settings import ImportanceConfig
from f3ocus_jax.models.base import Model
from f3ocus_jax.privacy.scores import make_private_score
from f3ocus_jax.privacy.settings import EXAMPLE, NOT_PRIVATE, PrivacyConfig
from f3ocus_jax.privacy.training import make_private_training
from f3ocus_jax.types import Array, Batch, ClientMemory, Controls, Params, Rows

VECTORS = ("bias", "scale")
"""Names of the parameters that are no matrices, in every family, adapter and head."""

Shared = tuple[Params, Rows, Params]
"""Parameters that every client receives: (frozen, rows_L, head)."""


@struct.dataclass
class ClientUpdate:
    """Result of one client's local training, as sent to the server.

    Attributes:
      rows_R: Chosen layers after training; unused slots are meaningless.
      head: Answer head after training; as it was in a round that does not train it, and then
        nothing that a client would send.
      losses_S: float32, loss of every step before it is taken; 0 for a step that was skipped.
      finite: bool [], False if personal layers became NaN or infinite, which the server cannot see.
      controls: Change of the client's controls of the chosen layers and of the head; None without
        any.
    """

    rows_R: Rows
    head: Params
    losses_S: Array
    finite: Array
    controls: Controls | None = None


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
    privacy: PrivacyConfig = NOT_PRIVATE,
) -> ClientSide:
    """Makes the client's half of a round.

    Args:
      model: The model.
      importance: Settings of the score.
      training: Settings of local training.
      loss: A key of `losses.LOSSES`.
      skip_frozen: If True, frozen layers are skipped at run time, see `gradient.make_forward`.
      privacy: Settings of differential privacy; for that of examples, the client clips the
        gradient of every example and adds noise to their sum.

    Returns:
      The client's functions.
    """
    return ClientSide(
        score=_make_score(model, importance, training, privacy, loss),
        train=_make_train(model, training, privacy, loss, skip_frozen),
    )


def make_local_optimizer(settings: TrainingConfig) -> optax.GradientTransformation:
    """Makes the optimizer of local training."""
    if settings.optimizer == SGD:
        return optax.sgd(settings.learning_rate)
    mask = _is_matrix if settings.decay == DECAY_MATRICES else None
    return optax.adamw(settings.learning_rate, weight_decay=settings.weight_decay, mask=mask)


def _is_matrix(params: Params) -> Any:
    """Returns False for biases and scales of norms, by name: stacked rows have an axis more."""

    def of_leaf(path: Sequence[Any], leaf: Array) -> bool:
        del leaf
        return path[-1].key not in VECTORS

    return jax.tree_util.tree_map_with_path(of_leaf, params)


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
    model: Model,
    settings: ImportanceConfig,
    training: TrainingConfig,
    privacy: PrivacyConfig,
    loss: str,
) -> Score:
    context = make_score_context(model, settings, training, loss)
    if has_private_scores(privacy, settings):
        clip, multiplier = privacy.score_clip, privacy.score_noise_multiplier
        measure = make_private_score(context, clip=clip, noise_multiplier=multiplier)
    else:
        measure = settings.make("score", context)

    @jax.named_scope("score")
    def score(
        shared: Shared, memory: ClientMemory, batch: Batch, key: jax.Array
    ) -> tuple[Importance, ClientMemory]:
        shared = _with_own_head(shared, memory)
        if memory.vectors_LNC is None:
            return measure(*shared, batch, key), memory
        found = measure(*shared, batch, key, memory.vectors_LNC)
        memory = dataclasses.replace(memory, vectors_LNC=found.vectors_LNC)
        return dataclasses.replace(found, vectors_LNC=None), memory

    return score


def _with_own_head(shared: Shared, memory: ClientMemory) -> Shared:
    """Replaces the shared head by the client's own, if it has one."""
    return shared if memory.head is None else (*shared[:2], memory.head)


def _own(made: LocalUpdate, memory: ClientMemory) -> dict[str, Any]:
    """Returns what the client keeps of its training, by its name in the memory."""
    names = ("personal_L", "optimizer", "head")
    return {name: getattr(made, name) for name in names if getattr(memory, name) is not None}


def _control_change(
    shared: Shared, task: LocalTask, made: LocalUpdate, rate: float
) -> Controls | None:
    """Returns the change of a client's controls by a task; None in a run without controls."""
    if task.controls is None:
        return None
    planned = task.batches_S.labels_B.shape[0]
    change = controls.control_change(
        task.controls,
        (task.choice.take(shared[1]), shared[2]),
        (made.rows_R, made.head),
        steps=jnp.minimum(task.steps, planned),
        rate=rate,
    )
    if task.trains_head:
        return change
    return dataclasses.replace(change, head=jax.tree.map(jnp.zeros_like, change.head))


def _make_local(
    model: Model, settings: TrainingConfig, privacy: PrivacyConfig, loss: str, skip_frozen: bool
) -> local.Train:
    """Makes local training as the settings say."""
    common: dict[str, Any] = {
        "loss": loss,
        "optimizer": make_local_optimizer(settings),
        "skip_frozen": skip_frozen,
    }
    if settings.dual_adapters:
        remat = settings.rematerialise
        return feddat.make_feddat_training(model, rematerialise=remat, **common)
    common |= {name: getattr(settings, name) for name in ("unit", "accumulate", "proximal")}
    if privacy.unit == EXAMPLE:
        return make_private_training(model, privacy=privacy, **common)
    return local.make_local_training(
        model, rematerialise=settings.rematerialise, precision=settings.precision, **common
    )


def _make_train(
    model: Model, settings: TrainingConfig, privacy: PrivacyConfig, loss: str, skip_frozen: bool
) -> Train:
    run = _make_local(model, settings, privacy, loss, skip_frozen)

    @jax.named_scope("train")
    def train(
        shared: Shared, memory: ClientMemory, task: LocalTask
    ) -> tuple[ClientUpdate, ClientMemory]:
        given = {"personal_L": memory.personal_L, "optimizer": memory.optimizer}
        task = dataclasses.replace(task, **given, own_controls=memory.controls)
        made = run(*_with_own_head(shared, memory), task)
        kept = _own(made, memory)
        change = _control_change(shared, task, made, settings.learning_rate)
        if change is not None and memory.controls is not None:
            layers_R = task.choice.layers_R
            kept["controls"] = controls.add_rows(memory.controls, change, layers_R, 1.0)
        if not kept:
            return ClientUpdate(made.rows_R, made.head, made.losses_S, jnp.bool_(True)), memory
        finite = is_finite(made)
        for name, after in kept.items():
            before = getattr(memory, name)
            kept[name] = jax.tree.map(functools.partial(jnp.where, finite), after, before)
        head = made.head if memory.head is None else shared[2]
        update = ClientUpdate(made.rows_R, head, made.losses_S, finite, change)
        return update, dataclasses.replace(memory, **kept)

    return train
