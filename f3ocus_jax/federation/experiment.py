"""Federated run from its config to its results: parts, loop over rounds, report."""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Sequence

import jax

from f3ocus_jax import hosts, interrupts
from f3ocus_jax.federation import (
    agreement,
    checkpoint,
    compiling,
    profiling,
    results,
    resuming,
    run_folder,
    run_lock,
    run_page,
)
from f3ocus_jax.federation.assembly import Parts, assemble
from f3ocus_jax.federation.observing import Notify, observe
from f3ocus_jax.federation.round import run_round
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.report import progress, record_files, scalars
from f3ocus_jax.report.records import make_round_record, make_start_record
from f3ocus_jax.types import ClientMemory, RoundRecord, ServerState

__all__ = ["Parts", "assemble", "evaluate_start", "next_round", "run"]


def run(
    config: ExperimentConfig,
    workdir: pathlib.Path,
    *,
    with_figures: bool = True,
    make_parts: Callable[[ExperimentConfig], Parts] = assemble,
) -> list[RoundRecord]:
    """Runs a federation to its last round, from its newest checkpoint if it has one.

    Args:
      config: Settings of the run.
      workdir: Absolute path of a folder for checkpoints/, records.jsonl, tensorboard/, figures/,
        profile/, the final table and the final model.
      with_figures: False to leave the figures out, which take seconds.
      make_parts: Builds the parts of the run, once no other process can write to the workdir.

    Returns:
      The records of all rounds.

    Raises:
      ConfigError, DamagedError, DataError, WeightsError: before any compute.
      HostError: if another host stops before round 1, or does not answer.
      LockedError: if another process runs in this workdir.
      RoundError: if a round fails numerically; the checkpoints of the rounds before it stay.
    """
    folder = checkpoint.directory(config.checkpoint, workdir)
    with run_lock.owned(workdir, folder) as check_ownership:
        with hosts.ending_together():
            agreement.check_settings(config)
            agreement.check_checkpoints(run_lock.is_seen(workdir, folder))
            parts = make_parts(config)
            agreement.check_parts(parts, folder)
            state, memory, records = resuming.resume(parts, folder, workdir)
        with contextlib.ExitStack() as stack:
            checkpoints = stack.enter_context(
                checkpoint.Checkpoints(folder, config.checkpoint, parts.settings)
            )
            outlets, notify = _open_outlets(parts, state, records, workdir, stack)
            if not records:
                records.append(evaluate_start(parts, notify))
                _keep(parts, records, state, memory, checkpoints, outlets)
            while int(state.round) < parts.last_round:
                with profiling.profiled(config.profile, workdir, int(state.round) + 1):
                    state, memory, record = next_round(parts, state, memory, notify)
                records.append(record)
                check_ownership()
                _keep(parts, records, state, memory, checkpoints, outlets)
        _say_end(parts)
        results.write_results(parts, state, records, workdir, with_figures=with_figures)
        _write_last_page(parts, records, workdir)
    return records


def _ignore(number: int, stage: str, finished: int, clients: int) -> None:
    del number, stage, finished, clients


def evaluate_start(parts: Parts, notify: Notify = _ignore) -> RoundRecord:
    """Returns the record of round 0: the model before any training."""
    clients = parts.federation.clients
    stages, seconds = observe(parts.stages, notify, 0, len(clients))
    metrics = stages.evaluate(parts.start, None, parts.memory.head)
    return make_start_record(clients, parts.budgets.budgets_K, metrics, seconds)


def next_round(
    parts: Parts, state: ServerState, memory: ClientMemory, notify: Notify = _ignore
) -> tuple[ServerState, ClientMemory, RoundRecord]:
    """Runs the next round and makes its record.

    Args:
      parts: Parts of the run.
      state: State of the server after the last round.
      memory: Memories of the clients after the last round.
      notify: Function called when a stage starts and ends.

    Returns:
      (state and memories after the round, its record).

    Raises:
      RoundError: if too few clients are left, or a test loss of the new model is not finite.
    """
    config, clients, number = parts.config, parts.federation.clients, int(state.round) + 1
    key = jax.random.fold_in(jax.random.key(config.seed), number)
    stages, seconds = observe(parts.stages, notify, number, len(clients))
    evaluates = config.evaluation.is_due(number, parts.last_round)
    state, memory, outcome = run_round(stages, state, memory, number, key, evaluates=evaluates)
    record = make_round_record(
        number,
        clients,
        parts.budgets.budgets_K,
        importance=outcome.scored.importance,
        selected=outcome.chosen,
        training=outcome.training,
        metrics=outcome.metrics,
        kept_K=outcome.scored.kept_K,
        left_out=outcome.left_out,
        score=config.importance.score,
        algorithm=config.selection.algorithm,
        seconds=seconds,
    )
    return state, memory, record if parts.privacy is None else parts.privacy.add_to(record)


def _open_outlets(
    parts: Parts,
    state: ServerState,
    records: list[RoundRecord],
    workdir: pathlib.Path,
    stack: contextlib.ExitStack,
) -> tuple[Sequence[Callable[[RoundRecord], None]], Notify]:
    """Opens the outputs for records and for progress; none on any host but the first."""
    if not hosts.is_first():
        if parts.config.distributed.own_data:
            run_folder.write_run(parts, workdir)
        return (), _ignore
    parts.federation.summary.record(workdir)
    print("\n".join(parts.federation.summary.lines()), flush=True)
    records_path = workdir / resuming.RECORDS
    run_folder.write_run(parts, workdir)
    record_files.rewrite_records(records_path, records)
    write_scalars = stack.enter_context(
        scalars.make_scalar_writer(workdir / "tensorboard", records)
    )
    display = stack.enter_context(progress.show_progress(parts.last_round, int(state.round)))
    stack.enter_context(compiling.announced(display.compiling))
    append = functools.partial(record_files.append_record, records_path)
    write_page = functools.partial(_write_page, parts, records, workdir)
    return (append, write_scalars, display.finish, write_page), display.stage


def _write_page(
    parts: Parts, records: Sequence[RoundRecord], workdir: pathlib.Path, record: RoundRecord
) -> None:
    """Writes the page of a run that goes on, every few rounds."""
    every = parts.config.report.page_every
    if every and record.round % every == 0 and record.round < parts.last_round:
        run_page.write_or_warn(workdir, records)


def _write_last_page(parts: Parts, records: Sequence[RoundRecord], workdir: pathlib.Path) -> None:
    """Writes the page of a run that has ended, from its final table too."""
    if parts.config.report.page_every and hosts.is_first():
        path = run_page.write_or_warn(workdir, records)
        if path is not None:
            print(f"report: {path}", flush=True)


def _say_end(parts: Parts) -> None:
    """Says why a run ends before the last of its rounds, if it does."""
    if parts.privacy is not None and hosts.is_first():
        line = parts.privacy.describe_end(parts.last_round, parts.config.federated.rounds)
        if line is not None:
            print(line, flush=True)


def _keep(
    parts: Parts,
    records: list[RoundRecord],
    state: ServerState,
    memory: ClientMemory,
    checkpoints: checkpoint.Checkpoints,
    outlets: Sequence[Callable[[RoundRecord], None]],
) -> None:
    """Saves a finished round: a checkpoint that is due first, since a resume depends on it."""
    with interrupts.postponed():
        if parts.config.checkpoint.is_due(records[-1].round, parts.last_round):
            checkpoints.save(state, memory, records)
        if len(records) == 1:
            checkpoints.wait()  # Records without any checkpoint are those of a lost folder.
        for write in outlets:
            write(records[-1])
