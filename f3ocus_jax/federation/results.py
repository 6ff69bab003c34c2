"""Results of a finished run: final table, figures, exported model."""

import pathlib

from f3ocus_jax import hosts, interrupts
from f3ocus_jax.clients.settings import PERSONAL
from f3ocus_jax.data.examples import ClientData, local_clients
from f3ocus_jax.evaluation import client_metrics, features
from f3ocus_jax.evaluation.features import Features
from f3ocus_jax.federation import costs
from f3ocus_jax.federation.assembly import Parts
from f3ocus_jax.report import table
from f3ocus_jax.types import Params, RoundRecord, ServerState


def write_results(
    parts: Parts,
    state: ServerState,
    records: list[RoundRecord],
    workdir: pathlib.Path,
    *,
    with_figures: bool = True,
) -> None:
    """Prints and writes the final table, draws the figures and exports the model.

    Args:
      parts: Parts of the run.
      state: Last state of the server.
      records: Records of all rounds.
      workdir: Folder of the run.
      with_figures: False to leave the figures out, which take seconds.
    """
    if not parts.config.evaluation.test:
        _save_untested(parts, state, workdir)
        return
    clients = parts.federation.clients
    counted = costs.count_client_costs(parts.foundation, clients, parts.config, state, records)
    summary = table.summarise_run(records, counted, _baselines(clients))
    kept = _features(parts, state) if parts.config.evaluation.features else None
    if not hosts.is_first():
        return
    with interrupts.raised_here():  # No host waits for another one any more.
        # What cannot be made again from the records comes first.
        parts.foundation.save(workdir / "model", _exported(parts, state))
        table.write_table(summary, workdir)
        table.print_table(summary)
        if kept is not None:
            features.write(kept, workdir)
        pictures = _draw(records, workdir / "figures") if with_figures else []
    print(f"records, table and model: {workdir}")
    if pictures:
        print(f"{len(pictures)} figures: {workdir / 'figures'}")


def _exported(parts: Parts, state: ServerState) -> Params:
    """Returns the parameters of the shared model, without the head where every client has its own.

    Those stay in the checkpoints: a shared model of which a head is part would not be shared.
    """
    params = parts.params(state)
    return params | {"head": {}} if parts.config.training.head == PERSONAL else params


def _features(parts: Parts, state: ServerState) -> Features:
    """Returns the features of some test examples of all clients, before and after training."""
    config, clients = parts.config, parts.federation.clients
    pool = features.make_pool(parts.foundation.model, placement_name=config.federated.placement)
    models = parts.params(parts.start), parts.params(state)
    tests = {each.name: each.test for each in local_clients(clients) if each.test is not None}
    own = features.measure(pool, *models, tests, config.evaluation.features)
    found = {name: one for part in hosts.all_gather(own) for name, one in part.items()}
    return features.join(found, [client.name for client in clients])


def _draw(records: list[RoundRecord], folder: pathlib.Path) -> list[pathlib.Path]:
    from f3ocus_jax.report import figures  # Slow to import, and not every run draws.

    return figures.write_all(records, folder)


def _save_untested(parts: Parts, state: ServerState, workdir: pathlib.Path) -> None:
    """Exports the model of a run without test metrics, of which there is nothing to tabulate."""
    if hosts.is_first():
        with interrupts.raised_here():
            parts.foundation.save(workdir / "model", _exported(parts, state))
        print(f"records and model: {workdir}; test splits are left out (config.evaluation.test)")


def _baselines(clients: list[ClientData]) -> dict[str, dict[str, float]]:
    """Returns kind of baseline to client to metric, for clients whose task has the kind."""
    own = {
        client.name: client_metrics.majority_baselines(client) for client in local_clients(clients)
    }
    measured = {name: kinds for part in hosts.all_gather(own) for name, kinds in part.items()}
    kinds = dict.fromkeys(kind for metrics in measured.values() for kind in metrics)
    return {
        kind: {name: metrics[kind] for name, metrics in measured.items() if kind in metrics}
        for kind in kinds
    }
