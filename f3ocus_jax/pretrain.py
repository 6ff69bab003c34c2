"""Train a foundation model: f3ocus pretrain --config pretrain --workdir runs/foundation.

Trains all weights of a model on a pooled public dataset and writes a Hugging Face directory that
`config.model.weights` of a federated run takes. Use it where no pre-trained weights are available.
The same command again resumes a training that was stopped.
"""

import functools
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from f3ocus_jax import _command_line, interrupts
from f3ocus_jax.config import parsing
from f3ocus_jax.data import order
from f3ocus_jax.data.examples import ClientData, Examples, concatenate_examples
from f3ocus_jax.data.reading import read_federation
from f3ocus_jax.errors import ConfigError, RoundError
from f3ocus_jax.evaluation import accuracy, client_metrics, inference
from f3ocus_jax.federation import admission, checkpoint, compiling, run_lock
from f3ocus_jax.federation.settings import OptimizationConfig, PretrainConfig
from f3ocus_jax.federation.step_checkpoint import StepCheckpoints
from f3ocus_jax.models import base, foundation as foundation_lib, losses
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.foundation import Foundation
from f3ocus_jax.models.spec import GENERATE
from f3ocus_jax.types import Batch, Params

REPORTS = 10
"""Number of times that the loss is printed."""


def main(raw: ml_collections.ConfigDict) -> None:
    """Runs the command.

    Args:
      raw: Settings of the config file, with the command line's overrides.
    """
    config = parsing.parse(PretrainConfig, raw)
    workdir = _command_line.prepare_workdir()
    with run_lock.owned(workdir):
        pretrain(config, workdir)


def pretrain(config: PretrainConfig, workdir: pathlib.Path) -> float:
    """Trains a foundation model and writes it.

    Args:
      config: Run configuration.
      workdir: Folder of the written Hugging Face directory.

    Returns:
      The main metric on the pooled test split, in [0, 1].

    Raises:
      ConfigError: If the datasets are for different tasks, or checkpoints are of other settings.
      DamagedError: If there are checkpoints and none is whole.
      RoundError: If the loss becomes NaN; no model is written then.
    """
    tokenizer, canvas = foundation_lib.inputs(config.model, config.data)
    admission.check_model(config, foundation_lib.specify(config.model, tokenizer), canvas)
    federation = read_federation(
        config.data,
        canvas=canvas,
        tokenizer=tokenizer,
        writes_answers=config.model.answering == GENERATE,
    )
    pooled = pool(federation.clients)
    answers, key = federation.vocabulary.answers, jax.random.key(config.seed)
    foundation = foundation_lib.load(config.model, answers, key, federation.findings)
    settings = bound_settings(config, foundation)
    with StepCheckpoints(workdir, config.checkpoint, settings) as checkpoints:
        params = fit(foundation.model, foundation.params, pooled.train, config, checkpoints)
    predict = inference.make_predict(
        foundation.model,
        loss=config.model.loss,
        batch_size=config.evaluation.batch_size,
        placement_name="pmap",
    )
    (metrics,) = client_metrics.evaluate_clients(predict, params, [pooled])
    foundation.save(workdir, params)
    reached, measure = accuracy.main_metric(metrics.test), accuracy.main_metric_name([metrics.test])
    print(
        f"test {measure} {reached:.1%} on {len(pooled.test or ())} examples; written to {workdir}"
    )
    return reached


def bound_settings(config: PretrainConfig, foundation: Foundation) -> dict[str, Any]:
    """Returns the settings that a checkpoint is bound to, and hashes of the model's classes."""
    return {
        **parsing.flatten(config),
        "names of answers": checkpoint.hash_names(foundation.answers),
        "names of findings": checkpoint.hash_names(foundation.findings),
        "weights fingerprint": foundation.fingerprint,
    }


def pool(clients: list[ClientData]) -> ClientData:
    """Pools the data of all clients as one client.

    Raises:
      ConfigError: If some clients answer questions and others find diseases.
    """
    tasks = sorted({client.task for client in clients})
    if len(tasks) > 1:
        raise ConfigError(
            f"config.data.datasets are for {' and '.join(tasks)}; a foundation is trained on one"
        )
    validation = [client.validation for client in clients if client.validation is not None]
    return ClientData(
        "public",
        concatenate_examples([client.train for client in clients]),
        concatenate_examples([client.test for client in clients if client.test is not None]),
        concatenate_examples(validation) if validation else None,
    )


def fit(
    model: Model,
    params: Params,
    examples: Examples,
    config: PretrainConfig,
    checkpoints: StepCheckpoints,
) -> Params:
    """Minimises the loss over all weights, from the newest checkpoint if there is one.

    Args:
      model: Model to train.
      params: Parameters before training.
      examples: Training examples.
      config: Run configuration.
      checkpoints: Kept steps of this training.

    Returns:
      The trained parameters.

    Raises:
      RoundError: If the loss is not finite.
    """
    settings = config.optimization
    step, optimizer = make_step(model, config.model.loss, settings)
    params, state, taken = checkpoints.resume(params, optimizer.init(params))
    if taken:  # On the device, as copies that a step may reuse.
        params, state = jax.tree.map(jnp.array, (params, state))
    indices_SB, mask_SB = order.training_indices(
        order.make_generator(config.seed, 0, "public", "training"),
        len(examples),
        settings.steps,
        settings.batch_size,
    )
    every = max(1, settings.steps // REPORTS)
    start, recent = time.perf_counter(), []
    batches = zip(indices_SB[taken:], mask_SB[taken:], strict=True)
    with compiling.recorded() as spans:
        for number, (indices_B, mask_B) in enumerate(batches, start=taken + 1):
            params, state, loss = step(params, state, examples.batch(indices_B, mask_B))
            recent.append(loss)
            if number % every == 0 or number == settings.steps:
                mean = _mean_loss(recent, number)
                recent.clear()
                elapsed = time.perf_counter() - start
                steady = elapsed - compiling.total_seconds(spans)
                left = steady / (number - taken) * (settings.steps - number)
                progress = f"step {number}/{settings.steps}  loss {mean:.3f}"
                print(f"{progress}  {elapsed:.0f} s  left {left:.0f} s", flush=True)
            if config.checkpoint.is_due(number, settings.steps):
                _mean_loss([loss], number)
                with interrupts.postponed():
                    checkpoints.save(number, params, state)
    return params


def _mean_loss(recent: list[jax.Array], number: int) -> float:
    """Returns the mean loss of the steps up to a number; raises RoundError if it is not finite."""
    mean = float(jnp.mean(jnp.stack(recent)))
    if not np.isfinite(mean):
        raise RoundError(
            f"pre-training, steps {number - len(recent) + 1} to {number}: the loss is "
            f"{mean}; lower config.optimization.learning_rate"
        )
    return mean


def make_step(
    model: Model, loss: str, settings: OptimizationConfig
) -> tuple[Callable, optax.GradientTransformation]:
    """Makes a step of the training.

    Args:
      model: Model to train.
      loss: A key of `LOSSES`.
      settings: Steps, rate and decay.

    Returns:
      (jitted map of parameters, optimizer state and batch to the new ones and the loss, which uses
      up the first two; the optimizer).
    """
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, settings.learning_rate, max(1, settings.steps // 10), settings.steps
    )
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(schedule, weight_decay=settings.weight_decay),
    )

    per_example = losses.make_loss(loss)

    def objective(params: Params, batch: Batch) -> jax.Array:
        logits_BC = base.apply(model, params, batch)
        return losses.masked_mean(per_example(logits_BC, batch), batch)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Params, state: optax.OptState, batch: Batch) -> tuple:
        value, gradient = jax.value_and_grad(objective)(params, batch)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    return step, optimizer


if __name__ == "__main__":
    _command_line.run_with_config(main, lambda: PretrainConfig)
