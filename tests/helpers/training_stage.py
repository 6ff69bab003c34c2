"""The training stage of seven toy clients of uneven sizes, compiled once per settings."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax import selection
from f3ocus_jax.aggregation.server_optimizer import make_server_optimizer
from f3ocus_jax.data.examples import ClientData, Examples
from f3ocus_jax.federation.budgets import Budgets
from f3ocus_jax.federation.client_side import make_client_side
from f3ocus_jax.federation.participation import Participation
from f3ocus_jax.federation.server_side import make_server_side
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.federation.stages.aggregate import AggregateStage, make_aggregate_stage
from f3ocus_jax.federation.stages.train import TrainStage, make_train_stage
from f3ocus_jax.models import units
from f3ocus_jax.types import ClientMemory, ServerState, TrainingOutcome
from tests.helpers.configs import read_config
from tests.helpers.oracles import toy_batch, toy_model

LAYERS, CLIENTS, BROKEN = 4, 7, 2
SIZES = [3, 8, 5, 12, 4, 9, 6]
"""Training examples: 1 to 3 steps of 4."""
LAYERS_KR = np.array([[0, 2], [1, 4], [2, 3], [0, 1], [3, 4], [1, 2], [0, 2]], np.int32)
"""Layer 4 stands for a slot that is not in use."""
MASK_KL = np.any(LAYERS_KR[:, :, None] == np.arange(LAYERS), axis=1)


@functools.cache
def clients(broken: bool = False) -> list[ClientData]:
    """Clients of uneven sizes; one of them has images that are NaN if asked for."""
    made = []
    for index, size in enumerate(SIZES):
        batch = toy_batch(size, seed=index)
        texts = [""] * size
        images = batch.images_BHWC.astype(np.float32)
        if broken and index == BROKEN:
            images[1:] = np.nan
        train = Examples(
            images, batch.input_ids_BT, batch.attention_mask_BT, batch.labels_B, *[texts] * 5
        )
        made.append(ClientData(f"clinic {index}", train, train))
    return made


def config(**settings: Any) -> ExperimentConfig:
    fixed = {"unit": "block", "batch_size": 4, "max_local_steps": 3, "learning_rate": 0.01}
    named = {f"training__{name}": value for name, value in fixed.items()}
    return read_config("tiny", **({"federated__budgets": (2,)} | named | settings))


@dataclasses.dataclass(frozen=True)
class TrainingStages:
    """The train and aggregate stages of some settings, and the state that they start from."""

    train: TrainStage
    aggregate: AggregateStage
    participation: Participation
    start: ServerState


def make_stages(data: list[ClientData], **settings: Any) -> TrainingStages:
    """Makes the stages of some clients."""
    parsed, model = config(**settings), toy_model(layers=LAYERS)
    frozen, rows_L, head = units.split(model.init(jax.random.key(0)), "block")
    names = tuple(client.name for client in data)
    participation = Participation(names, parsed.federated, parsed.seed)
    budgets_K = np.full(len(data), LAYERS_KR.shape[1], np.int32)
    budgets = Budgets(names, budgets_K, selection.Requirements(), participation)
    client_side = make_client_side(
        model,
        importance=parsed.importance,
        training=parsed.training,
        loss=parsed.model.loss,
        skip_frozen=parsed.federated.clients_at_once == 1,
    )
    server_side = make_server_side(
        budgets, selection=parsed.selection, aggregation=parsed.aggregation
    )
    train = make_train_stage(
        client_side,
        server_side,
        frozen,
        data,
        participation,
        training=parsed.training,
        federated=parsed.federated,
        slots=budgets.slots,
        seed=parsed.seed,
    )
    aggregate = make_aggregate_stage(server_side, placement_name=parsed.federated.placement)
    init, _ = make_server_optimizer(parsed.aggregation)
    front_mask_PKL = np.zeros((1, CLIENTS, LAYERS), bool)
    start = ServerState(rows_L, head, jnp.int32(0), front_mask_PKL, init(rows_L, head))
    return TrainingStages(train, aggregate, participation, start)


@functools.cache
def cached_stages(broken: bool, settings: tuple) -> TrainingStages:
    """The stages of the toy clients, compiled once per settings."""
    return make_stages(clients(broken), **dict(settings))


def train_round(
    stages: TrainingStages, state: ServerState, present_K: np.ndarray | None = None
) -> tuple[ServerState, TrainingOutcome]:
    """Trains the next round: (state after it, outcome)."""
    state, _, outcome = train_with_memory(stages, state, ClientMemory(), MASK_KL, present_K)
    return state, outcome


def train_with_memory(
    stages: TrainingStages,
    state: ServerState,
    memory: ClientMemory,
    mask_KL: np.ndarray,
    present_K: np.ndarray | None = None,
) -> tuple[ServerState, ClientMemory, TrainingOutcome]:
    """Trains the next round: (state and memories after it, outcome)."""
    number = int(state.round) + 1
    present_K = stages.participation.present(number) if present_K is None else present_K
    updates, memory = stages.train(state, memory, number, mask_KL, present_K)
    return stages.aggregate(state, updates), memory, updates.outcome
