"""Run of a server: the sites join, agree and answer, and the workdir gets what a run leaves."""

import pathlib

from f3ocus_jax.deployment.settings import DeployedConfig
from f3ocus_jax.deployment.transport import Transport
from f3ocus_jax.types import RoundRecord


def run(config: DeployedConfig, workdir: pathlib.Path, transport: Transport) -> list[RoundRecord]:
    """Runs a federation to its last round, from its newest checkpoint if it has one.

    No file of data is read: sizes and classes come from the sites.

    Args:
      config: Settings of the run.
      workdir: Absolute path of the folder of the run, as of `experiment.run`.
      transport: The way to the sites `config.deployment.sites`, which may start before or after.

    Returns:
      The records of all rounds.

    Raises:
      ConfigError, DamagedError, WeightsError: before any message.
      ProtocolError: If a site that the federation needs does not fit.
      LockedError: If another process runs in this workdir.
      RoundError: If too few sites are left, or a loss is not finite; the checkpoints stay.
    """
    raise NotImplementedError
