"""A federation over the protocol in one process: a server and its sites exchange bytes."""

import dataclasses
from collections.abc import Mapping

from f3ocus_jax.clients import placement
from f3ocus_jax.deployment import facts, halves, protocol, wire
from f3ocus_jax.deployment.protocol import Exchange
from f3ocus_jax.deployment.server import Server
from f3ocus_jax.deployment.site import Site
from f3ocus_jax.federation.assembly import Parts
from f3ocus_jax.types import RoundRecord, ServerState


def make_server(parts: Parts) -> Server:
    """Makes the server of a run."""
    common = facts.of_run(parts.config, parts.foundation)
    return halves.make_server(parts.config, parts.budgets, parts.start, common)


def make_sites(parts: Parts) -> dict[str, Site]:
    """Makes a site for every client of a run, by its name."""
    params = placement.replicate(parts.foundation.params, parts.config.federated.placement)
    foundation = dataclasses.replace(parts.foundation, params=params)  # once for all sites
    clients = parts.federation.clients
    return {client.name: halves.make_site(parts.config, foundation, client) for client in clients}


def connect(server: Server, sites: Mapping[str, Site]) -> Exchange:
    """Admits the sites, and makes an exchange that calls one after the other."""
    for name, site in sites.items():
        server.admit(name, wire.encode(site.ready()))

    def exchange(tasks: Mapping[str, bytes]) -> None:
        for name, task in tasks.items():
            server.take(name, sites[name].answer(task))

    return exchange


def run(parts: Parts) -> tuple[ServerState, list[RoundRecord]]:
    """Runs a federation to its last round, with every message as bytes.

    Args:
      parts: Parts from `assembly.assemble`; nothing is written.

    Returns:
      (state of the server after the last round, records of all rounds), those of the simulator.

    Raises:
      RoundError: If too few sites are left, or a loss of a new model is not finite.
    """
    server = make_server(parts)
    exchange = connect(server, make_sites(parts))
    return protocol.play(protocol.without_data(parts, server, exchange))
