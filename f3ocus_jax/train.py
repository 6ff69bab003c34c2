"""python -m f3ocus_jax.train --config configs/x.py --workdir runs/x: runs a federation.

The same command again resumes a run that was stopped. On several hosts every host runs it, see
docs/federation.md.
"""

import ml_collections

from f3ocus_jax import _command_line, hosts
from f3ocus_jax.config import parsing
from f3ocus_jax.federation import experiment
from f3ocus_jax.federation.settings import ExperimentConfig


def main(raw: ml_collections.ConfigDict) -> None:
    """Runs the command.

    Args:
      raw: the config file's settings, with the command line's overrides.
    """
    config = parsing.parse(ExperimentConfig, raw)
    hosts.start(config.distributed)
    experiment.run(config, _command_line.prepare_workdir())


if __name__ == "__main__":
    _command_line.run_with_config(main)
