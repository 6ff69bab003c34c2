"""The two halves of the protocol as the settings of a run want them: plain, or with masks."""

from f3ocus_jax.data.examples import ClientData
from f3ocus_jax.deployment.facts import Facts
from f3ocus_jax.deployment.server import Server
from f3ocus_jax.deployment.site import Site
from f3ocus_jax.federation.budgets import Budgets
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.models.foundation import Foundation
from f3ocus_jax.types import ServerState


def make_server(
    config: ExperimentConfig,
    budgets: Budgets,
    start: ServerState,
    facts: Facts,
    number: int = 0,
) -> Server:
    """Makes a server; see `Server` for the arguments.

    Raises:
      ConfigError: If secure aggregation is wanted and cryptography is not installed.
    """
    if not config.secure_aggregation.enabled:
        return Server(config, budgets, start, facts, number)
    from f3ocus_jax.deployment.secure.server import SecureServer

    return SecureServer(config, budgets, start, facts, number)


def make_site(config: ExperimentConfig, foundation: Foundation, client: ClientData) -> Site:
    """Makes a site; see `Site` for the arguments.

    Raises:
      ConfigError: If secure aggregation is wanted and cryptography is not installed, or the file of
        the site's key cannot be read.
    """
    if not config.secure_aggregation.enabled:
        return Site(config, foundation, client)
    from f3ocus_jax.deployment.secure.site import SecureSite

    return SecureSite(config, foundation, client)
