"""Run of a server: the sites join, agree and answer, and the workdir gets what a run leaves."""

import dataclasses
import functools
import hashlib
import json
import pathlib
import time

from f3ocus_jax.data.answers import AnswerVocabulary
from f3ocus_jax.data.examples import ClientData
from f3ocus_jax.data.reading import Federation
from f3ocus_jax.data.summary import Summary
from f3ocus_jax.deployment import exchange as exchange_lib, facts, halves, protocol
from f3ocus_jax.deployment.answers import remote
from f3ocus_jax.deployment.classes import Agreement
from f3ocus_jax.deployment.courier import Clock, Courier
from f3ocus_jax.deployment.joining import Joining
from f3ocus_jax.deployment.settings import DeployedConfig
from f3ocus_jax.deployment.transport import Transport
from f3ocus_jax.federation import admission, assembly, checkpoint, experiment, sealed_steps
from f3ocus_jax.federation.assembly import Parts
from f3ocus_jax.federation.privacy_plan import make_privacy_plan
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.models import units
from f3ocus_jax.models.foundation import Foundation
from f3ocus_jax.types import ClientMemory, RoundRecord

AGREEMENT_FILE = "agreement.json"


def run(
    config: DeployedConfig,
    workdir: pathlib.Path,
    transport: Transport,
    *,
    clock: Clock = time.monotonic,
    with_figures: bool = True,
) -> list[RoundRecord]:
    """Runs a federation to its last round, from its newest checkpoint if it has one.

    No file of data is read: sizes and classes come from the sites.

    Args:
      config: Settings of the run; `config.deployment.sites` names the sites.
      workdir: Absolute path of the folder of the run, as of `experiment.run`.
      transport: The way to the sites, which may be started before the server or after it.
      clock: Time, in seconds.
      with_figures: False to leave the figures out.

    Returns:
      The records of all rounds.

    Raises:
      ConfigError, DamagedError, WeightsError: Before round 1.
      LockedError: If another process runs in this workdir.
      RoundError: If too few sites answer in time, or a loss is not finite; the checkpoints stay.
    """
    config.check_server()
    make_parts = functools.partial(
        _assemble, deployed=config, workdir=workdir, transport=transport, clock=clock
    )
    return experiment.run(
        config.experiment, workdir, with_figures=with_figures, make_parts=make_parts
    )


def _assemble(
    config: ExperimentConfig,
    deployed: DeployedConfig,
    workdir: pathlib.Path,
    transport: Transport,
    clock: Clock,
) -> Parts:
    """Lets the sites join, and builds the parts of the run."""
    settings = deployed.deployment
    tokenizer, _ = assembly.check_inputs(config)
    path, newest = workdir / AGREEMENT_FILE, _newest_round(config, workdir)
    agreement = None if newest is None else Agreement.read(path)
    joining = Joining(settings, facts.of_start(config, tokenizer), agreement)
    courier = Courier(transport, settings, clock)
    exchange_lib.collect_joins(courier, joining, settings)
    joining.agree().write(path)
    federation, foundation = _load_model(config, joining)
    _, start, _ = assembly.make_start(config, foundation, len(joining.names))
    budgets = assembly.make_budgets(config, federation.clients, foundation, start.rows_L)
    common = facts.of_run(config, foundation)
    server = halves.make_server(config, budgets, start, common, newest or 0)
    exchange_lib.collect_ready(courier, joining, server, settings)
    clients = server.clients
    summary = dataclasses.replace(federation.summary, partition_hash=_hash(clients))
    federation = dataclasses.replace(federation, clients=clients, summary=summary)
    least = config.federated.min_clients
    exchange = exchange_lib.make_exchange(courier, joining, server, settings, least)
    stages = protocol.make_stages(server, exchange, config.federated.placement)
    bound = assembly.bound_settings(config, foundation, joining.names)
    given = (config, federation, foundation, budgets, stages, start)
    plan = make_privacy_plan(config, clients, budgets)
    return Parts(*given, memory=ClientMemory(), settings=bound, privacy=plan)


def _load_model(config: ExperimentConfig, joining: Joining) -> tuple[Federation, Foundation]:
    """Loads the model with the agreed classes, for sites of which only the sizes are known."""
    agreed = joining.agree()
    clients = [remote(joining.joined[name]) for name in joining.names]
    vocabulary, summary = AnswerVocabulary(agreed.answers), Summary("", [], {}, [])
    federation = Federation(clients, vocabulary, agreed.findings, summary)
    federation, foundation, _ = assembly.load_model(config, federation)
    _, rows_L, head = units.split(foundation.params, config.training.unit)
    admission.check_state(config, rows_L, head, 1)
    return federation, foundation


def _newest_round(config: ExperimentConfig, workdir: pathlib.Path) -> int | None:
    """Returns the round after which the run goes on; None for a new run."""
    folder = checkpoint.directory(config.checkpoint, workdir)
    rounds = sealed_steps.steps(folder)
    return sealed_steps.first_whole(folder, reversed(rounds))[0] if rounds else None


def _hash(clients: list[ClientData]) -> str:
    """Returns a hash of the sites and their sizes, with which alone a run goes on."""
    sizes = [
        [client.name, client.task, *(None if split is None else len(split) for split in splits)]
        for client in clients
        for splits in [(client.train, client.test, client.validation)]
    ]
    return hashlib.sha256(json.dumps(sizes).encode()).hexdigest()[:16]
