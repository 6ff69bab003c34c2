"""How does a federated run go from its config to its results? Parts, round loop, report."""

import contextlib
import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax import _xla, hosts
from f3ocus_jax.aggregation import server_optimizer
from f3ocus_jax.config import parsing
from f3ocus_jax.cost import flops, traffic
from f3ocus_jax.data.reading import Federation, read_federation
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.evaluation import client_metrics
from f3ocus_jax.evaluation.written_answers import decoding_of
from f3ocus_jax.federation import budgets, checkpoint
from f3ocus_jax.federation.budgets import Budgets
from f3ocus_jax.federation.layer_costs import layer_costs
from f3ocus_jax.federation.round import Notify, Round
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.models import foundation as foundation_lib, head as head_lib, units
from f3ocus_jax.models.foundation import Foundation
from f3ocus_jax.report import figures, progress, record_files, scalars, table
from f3ocus_jax.types import Params, RoundRecord, Rows, ServerState

RUN_FILE = "run.json"


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a run is made of.

    Attributes:
      config: its settings.
      federation: the clients' data.
      foundation: the model, its tokenizer and the weights the run starts from.
      rounds: the compiled stages.
      start: the server's state before round 1.
      settings: what a checkpoint of this run is bound to.
    """

    config: ExperimentConfig
    federation: Federation
    foundation: Foundation
    rounds: Round
    start: ServerState
    settings: Mapping[str, Any]

    def params(self, state: ServerState) -> Params:
        """Returns the whole model's parameters as of a state."""
        unit = self.config.training.unit
        # Not the frozen parameters of `rounds`, which are spread over devices.
        frozen, _, _ = units.split(self.foundation.params, unit)
        return units.join(frozen, state.rows_L, state.head, unit)


def assemble(config: ExperimentConfig) -> Parts:
    """Builds the parts; everything that can be wrong with them is found here.

    Args:
      config: of the run.

    Returns:
      The parts.

    Raises:
      ConfigError: for settings that do not fit the data or the weights.
      DataError: for data that cannot be used.
      WeightsError: for weights that cannot be used.
      CompilerError: for a compiler that gives wrong gradients.
    """
    _xla.check()
    tokenizer, frame = foundation_lib.inputs(config.model, config.data)
    federation = read_federation(config.data, frame=frame, tokenizer=tokenizer)
    _check_probe(config, federation)
    answers, key = federation.vocabulary.answers, jax.random.key(config.seed)
    foundation = foundation_lib.load(config.model, answers, key, federation.findings)
    decoding = decoding_of(foundation, config.evaluation, config.data.answer_length)
    if decoding is not None:
        federation = decoding.teach(federation)
    frozen, start = _start(config, foundation, len(federation.clients))
    limits = _budgets(config, federation, foundation, start)
    rounds = Round(config, foundation.model, frozen, federation.clients, limits, decoding)
    return Parts(config, federation, foundation, rounds, start, _settings(config, foundation))


def run(config: ExperimentConfig, workdir: pathlib.Path) -> list[RoundRecord]:
    """Runs a federation to its last round, from its newest checkpoint if it has one.

    Args:
      config: of the run.
      workdir: absolute path; holds checkpoints/, records.jsonl, tensorboard/, figures/, the final
        table and the final model.

    Returns:
      The records of all rounds.

    Raises:
      ConfigError, DataError, WeightsError: before any compute.
      RoundError: if a round fails numerically; the checkpoints of the rounds before it stay.
    """
    parts = assemble(config)
    with contextlib.ExitStack() as stack:
        folder = checkpoint.directory(config.checkpoint, workdir)
        checkpoints = stack.enter_context(
            checkpoint.Checkpoints(folder, config.checkpoint, parts.settings)
        )
        state, records = _resume(parts, checkpoints)
        outlets, notify = _outlets(parts, state, records, workdir, stack)
        if not records:
            records.append(parts.rounds.evaluate_start(state))
            _keep(records, state, checkpoints, outlets)
        while int(state.round) < config.federated.rounds:
            state, record = parts.rounds.run(state, notify)
            records.append(record)
            _keep(records, state, checkpoints, outlets)
    write_report(parts, state, records, workdir)
    return records


def _outlets(
    parts: Parts,
    state: ServerState,
    records: list[RoundRecord],
    workdir: pathlib.Path,
    stack: contextlib.ExitStack,
) -> tuple[Sequence[Callable[[RoundRecord], None]], Notify]:
    """Opens what is told of every round and of its stages; nothing on any host but the first."""
    if not hosts.is_first():
        return (), lambda *stage: None
    parts.federation.summary.record(workdir)
    print("\n".join(parts.federation.summary.lines()), flush=True)
    records_path = workdir / "records.jsonl"
    _write_run_file(parts, workdir)
    record_files.rewrite_records(records_path, records)
    write_scalars = stack.enter_context(scalars.scalar_writer(workdir / "tensorboard", records))
    display = stack.enter_context(
        progress.show_progress(parts.config.federated.rounds, int(state.round))
    )
    append = functools.partial(record_files.append_record, records_path)
    return (append, write_scalars, display.finish), display.stage


@dataclasses.dataclass(frozen=True)
class RunFile:
    """What run.json keeps, so that a run's model can be used without its data.

    Attributes:
      config: the settings the run was last started with.
      clients: their names.
      answers: the answer vocabulary; empty where nobody answers questions.
      findings: what is looked for; empty where nobody finds diseases.
    """

    config: ExperimentConfig
    clients: list[str]
    answers: list[str]
    findings: list[str]


def read_run(workdir: pathlib.Path) -> RunFile:
    """Reads run.json of a workdir."""
    content = json.loads((workdir / RUN_FILE).read_text())
    config = parsing.parse(ExperimentConfig, content["config"])
    names = ("clients", "answers", "findings")
    return RunFile(config, *(content[name] for name in names))


def load_state(
    workdir: pathlib.Path, template: ServerState, settings: Mapping[str, Any], round: int | None
) -> ServerState:
    """Reads a checkpoint of a run.

    Args:
      workdir: of the run.
      template: a state of its shapes.
      settings: what the checkpoint must have been written under.
      round: which one; the most accurate if None.

    Raises:
      FileNotFoundError: if that round is not on disk.
      ConfigError: if it was written under other settings or weights.
    """
    kept = read_run(workdir).config.checkpoint
    folder = checkpoint.directory(kept, workdir)
    with checkpoint.Checkpoints(folder, kept, settings) as checkpoints:
        state, _ = checkpoints.restore(template, checkpoints.best() if round is None else round)
    return state


def load_model(workdir: pathlib.Path, round: int | None) -> tuple[Foundation, Params, int]:
    """Loads a run's model without its data.

    Args:
      workdir: of the run.
      round: which checkpoint; the most accurate if None.

    Returns:
      (foundation, the whole model's parameters after that round, the round).

    Raises:
      FileNotFoundError: if that round is not on disk.
      ConfigError, WeightsError: if the weights the run started from have changed or are gone.
    """
    made = read_run(workdir)
    unit = made.config.training.unit
    key = jax.random.key(made.config.seed)
    foundation = foundation_lib.load(made.config.model, made.answers, key, made.findings)
    frozen, template = _start(made.config, foundation, len(made.clients))
    state = load_state(workdir, template, _settings(made.config, foundation), round)
    return foundation, units.join(frozen, state.rows_L, state.head, unit), int(state.round)


def write_report(
    parts: Parts, state: ServerState, records: list[RoundRecord], workdir: pathlib.Path
) -> None:
    """Prints and writes the final table, draws the figures and exports the model.

    Args:
      parts: of the run.
      state: the server's last state.
      records: of all rounds.
      workdir: where to write.
    """
    summary = table.summary(records, costs(parts, state, records), _baselines(parts))
    if not hosts.is_first():
        return
    table.print_table(summary)
    table.write_table(summary, workdir)
    pictures = figures.write_all(records, workdir / "figures")
    parts.foundation.save(workdir / "model", parts.params(state))
    print(f"records, table and model: {workdir}")
    print(f"{len(pictures)} figures: {workdir / 'figures'}")


def _start(
    config: ExperimentConfig, foundation: Foundation, clients: int
) -> tuple[Params, ServerState]:
    """Returns the frozen parameters and the state before round 1."""
    frozen, rows_L, head = units.split(foundation.params, config.training.unit)
    layers = foundation.model.num_layers
    init, _ = server_optimizer.make_server_optimizer(config.aggregation)
    return frozen, ServerState(
        rows_L=rows_L,
        head=head,
        round=jnp.int32(0),
        front_mask_PKL=np.zeros((config.selection.population, clients, layers), bool),
        vectors_KLNC=_no_vectors(config, head, clients, layers),
        optimizer=init(rows_L, head),
        personal_KL=_copies(rows_L, clients) if config.training.dual_adapters else None,
    )


def _copies(rows_L: Rows, clients: int) -> Rows:
    """Gives every client layers of its own, which start as the shared ones do."""
    return jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf)[None], clients, axis=0), rows_L)


def _no_vectors(
    config: ExperimentConfig, heads: Params, clients: int, layers: int
) -> np.ndarray | None:
    """Returns the eigenvectors before round 1: 0, or None in a run that never starts warm."""
    settings = config.importance
    if not settings.warm_start:
        return None
    on_loss = settings.kernel == "loss"
    outputs = 1 if on_loss else sum(head_lib.classes(head) for head in heads.values())
    return np.zeros((clients, layers, settings.probe_examples, outputs), np.float32)


def _budgets(
    config: ExperimentConfig, federation: Federation, foundation: Foundation, start: ServerState
) -> Budgets:
    step_flops = _step_flops(config, federation, federation.clients[0].task, foundation)
    costs_L = layer_costs(config.federated.budget_unit, start.rows_L, step_flops)
    return budgets.make_budgets(config, costs_L, [client.name for client in federation.clients])


def _step_flops(
    config: ExperimentConfig, federation: Federation, task: str, foundation: Foundation
) -> flops.StepFlops:
    """Counts a training step of a task's clients, with the head of that task alone."""
    name = head_lib.OF_TASK[task]
    heads = foundation.params["head"]  # {} in a model that writes its answers
    params = {**foundation.params, "head": {n: heads[n] for n in heads if n == name}}
    # All clients' batches have the same shapes.
    batch = hosts.of_this_host(federation.clients)[0].train.batch(np.zeros(1, np.int64))
    counted = flops.step_flops(foundation.model, params, batch, config.training.unit)
    if not config.training.dual_adapters:
        return counted
    both = {"personal": params["adapters"], "shared": params["adapters"]}
    mixed = flops.step_flops(foundation.model, {**params, "adapters": both}, batch, "mixed")
    return counted.beside(mixed)


def _settings(config: ExperimentConfig, foundation: Foundation) -> dict[str, Any]:
    """Returns what a checkpoint is bound to."""
    return parsing.flatten(config) | {"weights fingerprint": foundation.fingerprint}


def _write_run_file(parts: Parts, workdir: pathlib.Path) -> None:
    content = {
        "config": dataclasses.asdict(parts.config),
        "clients": [client.name for client in parts.federation.clients],
        "answers": list(parts.federation.vocabulary.answers),
        "findings": list(parts.federation.findings),
    }
    temporary = workdir / f"{RUN_FILE}.tmp"
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    temporary.replace(workdir / RUN_FILE)


def _resume(
    parts: Parts, checkpoints: checkpoint.Checkpoints
) -> tuple[ServerState, list[RoundRecord]]:
    if checkpoints.latest() is None:
        return parts.start, []
    state, records = checkpoints.restore(parts.start)
    print(f"resuming after round {int(state.round)}")
    return state, records


def _keep(
    records: list[RoundRecord],
    state: ServerState,
    checkpoints: checkpoint.Checkpoints,
    outlets: Sequence[Callable[[RoundRecord], None]],
) -> None:
    """Makes a finished round last: checkpoint first, since it is what a resume goes by."""
    checkpoints.save(state, records)
    for tell in outlets:
        tell(records[-1])


def _check_probe(config: ExperimentConfig, federation: Federation) -> None:
    wanted = config.importance.probe_examples
    for client in federation.clients:
        if wanted > len(client.train):
            raise ConfigError(
                f"config.importance.probe_examples = {wanted}, must be at most "
                f"{len(client.train)}, the training examples of client {client.name}"
            )


def costs(parts: Parts, state: ServerState, records: list[RoundRecord]) -> list[traffic.ClientCost]:
    """Counts what the rounds of a run cost each client.

    Args:
      parts: of the run.
      state: of the server after any round.
      records: of the rounds.

    Returns:
      One cost per client.
    """
    clients = parts.federation.clients
    counted = {
        task: _step_flops(parts.config, parts.federation, task, parts.foundation)
        for task in {client.task for client in clients}
    }
    sizes = {head_lib.OF_TASK[client.task]: 0 for client in clients}
    sizes |= {name: traffic.parameter_count(head) for name, head in state.head.items()}
    return traffic.client_costs(
        records,
        traffic.row_parameters(state.rows_L),
        [sizes[head_lib.OF_TASK[client.task]] for client in clients],
        [counted[client.task] for client in clients],
        rows_per_layer=2 if parts.config.training.dual_adapters else 1,
    )


def _baselines(parts: Parts) -> dict[str, dict[str, float]]:
    """Returns kind of guess to client to what it scores, for those whose task has the kind."""
    here = hosts.of_this_host(parts.federation.clients)
    own = {client.name: client_metrics.majority_baselines(client) for client in here}
    everywhere = hosts.exchange(own)
    habits = {name: guesses for part in everywhere for name, guesses in part.items()}
    kinds = dict.fromkeys(kind for guesses in habits.values() for kind in guesses)
    return {
        kind: {name: guesses[kind] for name, guesses in habits.items() if kind in guesses}
        for kind in kinds
    }
