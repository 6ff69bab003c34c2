"""Evaluation of a run whose hosts have data of their own, by a host that reads some of them."""

import dataclasses
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

from f3ocus_jax.clients import placement
from f3ocus_jax.data.answers import AnswerVocabulary
from f3ocus_jax.data.reading import Federation, read_federation
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.evaluation import client_metrics
from f3ocus_jax.evaluation.written_answers import make_answer_decoder
from f3ocus_jax.federation import assembly, checkpoint, run_folder
from f3ocus_jax.federation.run_folder import RunFile, SavedModel
from f3ocus_jax.models.spec import GENERATE
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.printable import printable

logger = logging.getLogger(__name__)


def evaluate(
    workdir: pathlib.Path, round: int, folders: Mapping[str, Any]
) -> dict[str, Mapping[str, float]]:
    """Measures a run's model on the clients whose data this machine can read.

    Args:
      workdir: Folder of the run, as a host has it.
      round: Round of the checkpoint.
      folders: Values of `config.data.data_dir` and `config.data.manual_dir` to use instead.

    Returns:
      Client to metrics on its test split.

    Raises:
      BuildError: If the data of no host whose settings are in the workdir can be read.
      ConfigError: If they are other clients than those of the run.
    """
    saved = run_folder.load_model(workdir, round)
    made = [run_folder.read_run(workdir, file) for file in run_folder.run_files(workdir)]
    params = placement.replicate(saved.params, made[0].config.federated.placement)
    saved = dataclasses.replace(saved, params=params)
    measured: dict[str, Mapping[str, float]] = {}
    problems: list[BuildError] = []
    for run in made:
        try:
            measured |= _measure(run, saved, folders)
        except BuildError as error:
            problems.append(error)
    if not measured:
        raise problems[0]
    absent = [name for name in made[0].clients if name not in measured]
    if absent:
        names = ", ".join(map(printable, absent))
        logger.warning("not measured, since their data are on other hosts: %s", names)
    _compare_sizes(workdir, made[0], saved.round, measured)
    return measured


def _measure(
    run: RunFile, saved: SavedModel, folders: Mapping[str, Any]
) -> dict[str, Mapping[str, float]]:
    """Measures the clients of one host."""
    config, foundation = run.config, saved.foundation
    data = dataclasses.replace(config.data, **folders)
    federation: Federation = read_federation(
        data,
        canvas=foundation.canvas(data),
        tokenizer=foundation.tokenizer,
        vocabulary=AnswerVocabulary(tuple(run.answers)),
        findings=tuple(run.findings),
        writes_answers=config.model.answering == GENERATE,
    )
    unknown = [client.name for client in federation.clients if client.name not in run.clients]
    if unknown:
        raise ConfigError(
            f"client {printable(unknown[0])} of {', '.join(data.datasets)} is none of the run's"
        )
    decoding = make_answer_decoder(foundation, config.evaluation, data.answer_length)
    if decoding is not None:
        federation = decoding.add_answer_tokens(federation)
    clients = federation.clients
    predict = assembly.make_predict(config, foundation.model, clients, decoding)
    metrics = client_metrics.evaluate_clients(
        predict, saved.params, clients, heads=saved.heads, validates=False
    )
    return {client.name: each.test for client, each in zip(clients, metrics, strict=True)}


def _compare_sizes(
    workdir: pathlib.Path, run: RunFile, round: int, measured: Mapping[str, Mapping[str, float]]
) -> None:
    """Says of which clients the run measured another number of examples."""
    folder = run_folder.checkpoints_of(run.config, workdir)
    recorded = {each.client: each.test for each in checkpoint.read_record(folder, round).clients}
    for name, metrics in measured.items():
        before, now = recorded[name].get("examples"), metrics.get("examples")
        if before != now:
            logger.warning(
                "client %s: %s test examples, the run measured %s: its data changed, or the run "
                "left out images that an earlier host has, too",
                *(printable(name), now, before),
            )
