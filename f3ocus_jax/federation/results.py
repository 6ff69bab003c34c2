"""Results of a finished run: final table, figures, exported model."""

import pathlib

from f3ocus_jax import hosts, interrupts
from f3ocus_jax.data.examples import ClientData, local_clients
from f3ocus_jax.evaluation import client_metrics
from f3ocus_jax.federation import costs
from f3ocus_jax.federation.assembly import Parts
from f3ocus_jax.report import figures, table
from f3ocus_jax.types import RoundRecord, ServerState


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
    clients = parts.federation.clients
    counted = costs.count_client_costs(parts.foundation, clients, parts.config, state, records)
    summary = table.summarise_run(records, counted, _baselines(clients))
    if not hosts.is_first():
        return
    with interrupts.raised_here():  # No host waits for another one any more.
        # What cannot be made again from the records comes first.
        parts.foundation.save(workdir / "model", parts.params(state))
        table.write_table(summary, workdir)
        table.print_table(summary)
        pictures = figures.write_all(records, workdir / "figures") if with_figures else []
    print(f"records, table and model: {workdir}")
    if pictures:
        print(f"{len(pictures)} figures: {workdir / 'figures'}")


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
