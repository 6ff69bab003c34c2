"""Costs of a run, counted and not measured: operations of training steps, traffic per client."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.clients.settings import TrainingConfig
from f3ocus_jax.config.kept import kept
from f3ocus_jax.cost import flops, traffic
from f3ocus_jax.data.examples import ClientData, local_clients
from f3ocus_jax.federation.client_side import make_score_context
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.importance.scoring_flops import scoring_flops
from f3ocus_jax.importance.settings import ImportanceConfig
from f3ocus_jax.models import head as head_lib
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.foundation import Foundation
from f3ocus_jax.models.spec import GENERATE
from f3ocus_jax.types import Batch, Params, RoundRecord, ServerState


def example_batch(
    foundation: Foundation,
    clients: Sequence[ClientData],
    config: ExperimentConfig,
    examples: int = 1,
) -> Batch:
    """Returns the shapes of a batch of a run.

    Args:
      foundation: The model.
      clients: All K clients, whose batches have the same shapes; those of a server of a deployment
        have no example, and settings and model tell the shapes.
      config: Settings of the run.
      examples: Size of the batch.
    """
    local = local_clients(clients)
    if local:
        return shapes_of(local[0].train.batch(np.zeros(examples, np.int64)))
    return outline_batch(foundation, config, examples)


def outline_batch(foundation: Foundation, config: ExperimentConfig, examples: int) -> Batch:
    """Returns the shapes of a batch of a run, from its settings and its model alone."""
    data, canvas = config.data, foundation.canvas(config.data)
    findings = len(foundation.findings)
    channels = foundation.spec.config.num_channels
    writes = config.model.answering == GENERATE

    def zeros() -> Batch:
        ids_BT = jnp.zeros((examples, data.question_length), jnp.int32)
        ids_BA = jnp.zeros((examples, data.answer_length), jnp.int32) if writes else None
        return Batch(
            images_BHWC=jnp.zeros((examples, canvas.side, canvas.side, channels), jnp.uint8),
            input_ids_BT=ids_BT,
            attention_mask_BT=ids_BT,
            labels_B=jnp.zeros(examples, jnp.int32),
            example_mask_B=jnp.zeros(examples, jnp.float32),
            targets_BF=jnp.zeros((examples, findings), jnp.int8) if findings else None,
            answer_ids_BA=ids_BA,
            answer_mask_BA=ids_BA,
            image_size_B2=jnp.zeros((examples, 2), jnp.int32) if canvas.keeps_aspect else None,
        )

    return jax.eval_shape(zeros)


def count_step_flops(
    foundation: Foundation, clients: Sequence[ClientData], task: str, config: ExperimentConfig
) -> flops.StepFlops:
    """Counts a training step of one task's clients, with the head of that task alone.

    Args:
      foundation: The model and its weights.
      clients: All K clients, whose batches have the same shapes.
      task: Task of the clients to count.
      config: Settings of the run.

    Returns:
      The operations of a step.
    """
    batch = example_batch(foundation, clients, config)
    return step_flops_of(foundation, batch, task, config.training)


def step_flops_of(
    foundation: Foundation, batch: Batch, task: str, training: TrainingConfig
) -> flops.StepFlops:
    """Counts a training step of one task's clients.

    Args:
      foundation: The model and its weights, or their shapes.
      batch: Shapes of one example.
      task: Task of the clients to count.
      training: Settings of local training.

    Returns:
      The operations of a step.
    """
    name = head_lib.OF_TASK[task]
    heads = foundation.params["head"]  # {} in a model that writes its answers
    params = {**foundation.params, "head": {n: heads[n] for n in heads if n == name}}
    counted = _step_flops(foundation.model, shapes_of(params), batch, training.unit)
    if not training.dual_adapters:
        return counted
    both = {"personal": params["adapters"], "shared": params["adapters"]}
    params = {**params, "adapters": both}
    mixed = _step_flops(foundation.model, shapes_of(params), batch, "mixed")
    return counted.plus(mixed)


def count_scoring_flops(
    foundation: Foundation, clients: Sequence[ClientData], config: ExperimentConfig
) -> float | None:
    """Counts what one client computes to score its layers, the same for all clients.

    Args:
      foundation: The model and its weights.
      clients: All K clients, whose batches have the same shapes.
      config: Settings of the run.

    Returns:
      The operations of one score; None if they cannot be counted.
    """
    batch = example_batch(foundation, clients, config, config.importance.probe_examples)
    return scoring_flops_of(foundation, batch, config)


def scoring_flops_of(
    foundation: Foundation, batch: Batch, config: ExperimentConfig
) -> float | None:
    """Counts what one client computes to score its layers.

    Args:
      foundation: The model and its weights, or their shapes.
      batch: Shapes of the probe examples.
      config: Settings of the run.

    Returns:
      The operations of one score; None if they cannot be counted.
    """
    parts = (foundation.model, config.importance, config.training, config.model.loss)
    return _scoring_flops(*parts, shapes_of(foundation.params), batch)


_step_flops = kept(flops.step_flops)


@kept
def _scoring_flops(
    model: Model,
    importance: ImportanceConfig,
    training: TrainingConfig,
    loss: str,
    params: Params,
    batch: Batch,
) -> float | None:
    context = make_score_context(model, importance, training, loss)
    return scoring_flops(context, importance, params, batch)


def shapes_of(tree: Any) -> Any:
    """Returns the shapes of arrays, which tell all that is counted."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype), tree)


def count_client_costs(
    foundation: Foundation,
    clients: Sequence[ClientData],
    config: ExperimentConfig,
    state: ServerState,
    records: list[RoundRecord],
) -> list[traffic.ClientCost]:
    """Counts the costs of a run's rounds for each client.

    Args:
      foundation: The model and its weights.
      clients: All K clients.
      config: Settings of the run.
      state: State of the server after any round.
      records: Records of the rounds.

    Returns:
      One cost per client.
    """
    training = config.training
    counted = {
        task: count_step_flops(foundation, clients, task, config)
        for task in {client.task for client in clients}
    }
    sizes = {head_lib.OF_TASK[client.task]: 0 for client in clients}
    sizes |= {name: traffic.parameter_count(head) for name, head in state.head.items()}
    scoring = count_scoring_flops(foundation, clients, config)
    return traffic.client_costs(
        records,
        traffic.row_parameters(state.rows_L),
        [sizes[head_lib.OF_TASK[client.task]] for client in clients],
        [counted[client.task] for client in clients],
        rows_per_layer=2 if training.dual_adapters else 1,
        batch_size=training.batch_size,
        scoring_flops_K=[scoring] * len(clients),
        trains_head=training.trains_head,
        sends_head=training.sends_head,
    )
