"""The training stage of seven toy clients of uneven sizes, compiled once per settings."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.data.examples import ClientData, Examples
from f3ocus_jax.federation.participation import Participation
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.federation.stages.train import Outcome, Training
from f3ocus_jax.models import units
from f3ocus_jax.types import ServerState
from tests.helpers.configs import read_config
from tests.helpers.oracles import toy_batch, toy_model

LAYERS, CLIENTS, BROKEN = 4, 7, 2
SIZES = [3, 8, 5, 12, 4, 9, 6]
"""Training examples: 1 to 3 steps of 4."""
LAYERS_KR = np.array([[0, 2], [1, 4], [2, 3], [0, 1], [3, 4], [1, 2], [0, 2]], np.int32)
"""Layer 4 stands for a place that is not in use."""


@functools.cache
def clients(broken: bool = False) -> list[ClientData]:
    """Clients of uneven sizes; one of them has images that are NaN if asked for."""
    made = []
    for place, size in enumerate(SIZES):
        batch = toy_batch(size, seed=place)
        texts = [""] * size
        images = batch.images_BHWC.astype(np.float32)
        if broken and place == BROKEN:
            images[1:] = np.nan
        train = Examples(
            images, batch.input_ids_BT, batch.attention_mask_BT, batch.labels_B, *[texts] * 5
        )
        made.append(ClientData(f"clinic {place}", train, train))
    return made


def config(**settings: Any) -> ExperimentConfig:
    fixed = {"unit": "block", "batch_size": 4, "max_local_steps": 3, "learning_rate": 0.01}
    named = {f"training__{name}": value for name, value in fixed.items()}
    return read_config("tiny", **({"federated__budgets": (2,)} | named | settings))


@functools.cache
def stage(broken: bool, settings: tuple) -> tuple[Training, tuple]:
    """The compiled stage of some settings, and what every client gets."""
    parsed = config(**dict(settings))
    model, data = toy_model(layers=LAYERS), clients(broken)
    participation = Participation(
        tuple(client.name for client in data), parsed.federated, parsed.seed
    )
    shared = units.split(model.init(jax.random.key(0)), "block")
    return Training(parsed, model, data, participation), shared


def start(training: Training, shared: tuple, number: int = 1) -> ServerState:
    """The server's state before a round."""
    _, rows_L, head = shared
    memory = training.init(rows_L, head)
    return ServerState(
        rows_L, head, jnp.int32(number - 1), np.zeros((1, 7, 4), bool), optimizer=memory
    )


def train_round(
    training: Training, shared: tuple, state: ServerState, present_K: np.ndarray | None = None
) -> tuple[ServerState, Outcome]:
    """Trains the next round: (state after it, outcome)."""
    number = int(state.round) + 1
    present_K = training.participation.present(number) if present_K is None else present_K
    return training.run((shared[0], state.rows_L, state.head), state, LAYERS_KR, present_K)
