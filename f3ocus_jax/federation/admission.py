"""Refusal of runs that cannot fit this machine, before anything is read or allocated."""

from typing import Any

import jax

from f3ocus_jax.clients.settings import FROZEN, KEPT, PERSONAL
from f3ocus_jax.cost import least_memory
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.federation.settings import ExperimentConfig, PretrainConfig
from f3ocus_jax.models.spec import ModelSpec
from f3ocus_jax.types import Params, Rows


def check_model(
    config: ExperimentConfig | PretrainConfig, spec: ModelSpec[Any], canvas: Canvas
) -> None:
    """Refuses a model or a batch that does not fit, from shapes alone.

    Args:
      config: Settings of the run.
      spec: Specification of the model.
      canvas: Canvas of the images.

    Raises:
      ConfigError: With the memory that the run needs at least, and what there is.
    """
    shapes = least_memory.parameter_shapes(spec)
    if isinstance(config, PretrainConfig):
        trained, training = least_memory.count(shapes), "optimization"
    else:
        # Not by `units.split`, since a model without adapters has other layers to train.
        has_head = config.training.head != FROZEN
        trained, training = has_head * least_memory.count(shapes["head"]), "training"
    length, side = config.data.question_length, canvas.side
    batches = {
        f"config.{section}.batch_size = {size} at {side} pixels": least_memory.batch_bytes(
            spec, size, length, side
        )
        for section in (training, "evaluation")
        for size in [getattr(config, section).batch_size]
    }
    larger = max(batches, key=lambda name: batches[name])
    added = _added_parameters(config, spec) * least_memory.FLOAT_BYTES
    model = least_memory.model_bytes(shapes, trained=trained) + added
    name = f"config.model with {least_memory.count(shapes):.3g} parameters"
    least_memory.require_room({name: model, larger: batches[larger]})


def check_state(config: ExperimentConfig, rows_L: Rows, head: Params, clients: int) -> None:
    """Refuses a population or memories of clients that do not fit.

    Args:
      config: Settings of the run.
      rows_L: Shapes of the selectable layers.
      head: Shapes of the answer head.
      clients: K, number of clients.

    Raises:
      ConfigError: With the memory that the run needs at least, and what there is.
    """
    layers = len(jax.tree.leaves(rows_L)[0]) if jax.tree.leaves(rows_L) else 0
    rows, own_head = (
        least_memory.count(tree) * least_memory.FLOAT_BYTES for tree in (rows_L, head)
    )
    population = config.selection.population
    needs = {f"config.selection.population = {population}": population * clients * layers}
    if config.training.dual_adapters:
        needs["config.training.dual_adapters = True"] = clients * rows
    if config.training.optimizer_state == KEPT:
        needs[f'config.training.optimizer_state = "{KEPT}"'] = 2 * clients * (rows + own_head)
    if config.training.controls:
        needs["config.training.controls = True"] = clients * (rows + own_head)
    if config.training.head == PERSONAL:
        needs[f'config.training.head = "{PERSONAL}"'] = clients * own_head
    least_memory.require_room(needs)


def _added_parameters(config: ExperimentConfig | PretrainConfig, spec: ModelSpec[Any]) -> int:
    """Returns the number of parameters of a prompt and of low-rank changes."""
    stack, model = spec.stack, config.model
    low_rank = stack.num_layers * 4 * stack.width * model.lora_rank
    return low_rank + model.prompt_length * stack.width
