"""Operations of a run before it is done, counted from its settings and the sizes of its data.

Nothing is read, drawn or computed. The parts of a step are counted by the same functions as those
in the table of a finished run.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from f3ocus_jax.config.kept import kept
from f3ocus_jax.cost.flops import StepFlops
from f3ocus_jax.cost.jaxpr_counts import count_flops
from f3ocus_jax.data import order
from f3ocus_jax.data.released_sizes import ClientSizes
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.evaluation import inference
from f3ocus_jax.federation import budgets, costs
from f3ocus_jax.federation.participation import Participation
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.models import base, foundation as foundation_lib
from f3ocus_jax.models.foundation import Foundation
from f3ocus_jax.models.settings import ModelConfig
from f3ocus_jax.models.spec import CLASSIFY
from f3ocus_jax.types import Batch, Params
from tfds_medvqa.common.features import CLASSIFICATION


@dataclasses.dataclass(frozen=True)
class RunFlops:
    """Operations of matrix products and convolutions in all rounds of a run.

    Attributes:
      training: Local steps of all clients.
      scoring: Scores of all clients' layers.
      evaluation: Forward passes over test and validation splits, before round 1 and after each.
    """

    training: float
    scoring: float
    evaluation: float

    @property
    def total(self) -> float:
        """All of them. The server's search and the averages are not counted."""
        return self.training + self.scoring + self.evaluation


def count_run(
    config: ExperimentConfig,
    clients: Sequence[ClientSizes],
    *,
    answers: int,
    findings: int,
) -> RunFlops:
    """Counts a run.

    Args:
      config: Settings of the run.
      clients: Sizes of all K clients.
      answers: Classes of the answer head; 0 for none.
      findings: Classes of the head for findings; 0 for none.

    Returns:
      The operations. Where the choice of layers depends on data, those of training are the mean
      over all choices of as many layers.

    Raises:
      ConfigError: For settings whose operations cannot be counted beforehand.
    """
    _check(config)
    foundation = _outline(config.model, answers, findings)
    federated, rounds = config.federated, config.federated.rounds
    names = tuple(map(str, range(len(clients))))
    present = Participation(names, federated, config.seed).most / len(clients)
    example = costs.outline_batch(foundation, config, 1)
    steps = _steps_by_task(foundation, example, clients, config)
    layers = np.ones(foundation.model.num_layers)
    trained = sum(
        _local_examples(client, config) * mean_training(steps[client.task], int(budget), config)
        for client, budget in zip(
            clients, budgets.per_client(federated, len(clients), layers), strict=True
        )
    )
    probe = costs.outline_batch(foundation, config, config.importance.probe_examples)
    scored = costs.scoring_flops_of(foundation, probe, config)
    if scored is None:
        raise ConfigError(
            f"config.importance.score = {config.importance.score!r}: its operations cannot be "
            "counted before a run"
        )
    scores = min(rounds * present, -(-rounds // config.importance.every))
    evaluations = sum(config.evaluation.is_due(number, rounds) for number in range(rounds + 1))
    return RunFlops(
        training=rounds * present * trained,
        scoring=scores * len(clients) * scored,
        evaluation=evaluations * _evaluation(foundation, example, clients, config),
    )


def mean_training(step: StepFlops, budget: int | None, config: ExperimentConfig) -> float:
    """Returns the operations per example of a training step, in the mean over choices of layers.

    Args:
      step: Parts of the step.
      budget: Layers that the client trains; None for all.
      config: Settings of the run: clients that take the last layers are counted with these, others
        with the mean over all choices of as many layers.
    """
    layers = step.num_layers
    count = layers if budget is None else min(budget, layers)
    takes_last = config.importance.score == "last" and config.selection.algorithm == "own"
    lowest = [layers - count] if takes_last else range(layers - count + 1)
    total = 0.0
    choices = sum(math.comb(layers - 1 - index, count - 1) for index in lowest)
    for index in lowest:
        # Only the lowest layer and the number of the others decide.
        mask_L = np.arange(layers) > layers - count
        mask_L[index] = True
        weight = math.comb(layers - 1 - index, count - 1) / choices
        total += weight * step.training(mask_L)
    return total


@kept
def _outline(model: ModelConfig, answers: int, findings: int) -> Foundation:
    names = [str(index) for index in range(max(answers, findings))]
    return foundation_lib.outline(model, names[:answers], names[:findings])


def _check(config: ExperimentConfig) -> None:
    federated, model = config.federated, config.model
    for name, value, needed in (
        ("federated.budget_unit", federated.budget_unit, "layers"),
        ("model.answering", model.answering, CLASSIFY),
    ):
        if value != needed:
            raise ConfigError(
                f"config.{name} = {value!r}, must be {needed!r} to count a run beforehand"
            )


def _steps_by_task(
    foundation: Foundation, example: Batch, clients: Sequence[ClientSizes], config: ExperimentConfig
) -> dict[str, StepFlops]:
    training = config.training
    try:
        return {
            task: costs.step_flops_of(foundation, example, task, training)
            for task in {client.task for client in clients}
        }
    except ValueError as error:
        raise ConfigError(f"config.training.unit = {training.unit!r}: {error}") from error


def _local_examples(client: ClientSizes, config: ExperimentConfig) -> int:
    """Returns the examples of a client's local steps in a round, padding included."""
    settings = config.training
    return settings.batch_size * order.local_steps(
        client.train,
        batch_size=settings.batch_size,
        local_epochs=settings.local_epochs,
        max_local_steps=settings.max_local_steps,
    )


def _evaluation(
    foundation: Foundation, example: Batch, clients: Sequence[ClientSizes], config: ExperimentConfig
) -> float:
    """Counts one evaluation: all splits together, filled up to whole calls of the devices."""
    validates = config.data.validation_share > 0
    tested = sum(client.test for client in clients) if config.evaluation.test else 0
    count = tested + sum(
        client.validation if validates or client.task == CLASSIFICATION else 0 for client in clients
    )
    size = config.evaluation.batch_size
    computed = math.prod(inference.batches_of(count, size)) * size
    return computed * _forward(foundation.model, foundation.params, example)


@kept
def _forward(model: base.Model, params: Params, example: Batch) -> float:
    return count_flops(lambda params, batch: base.apply(model, params, batch), params, example)
