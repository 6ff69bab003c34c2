"""Run a federation: f3ocus train --config phantom --workdir runs/x.

The same command again resumes a run that was stopped. On several hosts every host runs it, see
docs/federation.md.
"""

import ml_collections

import f3ocus_jax
from f3ocus_jax import _command_line
from f3ocus_jax.config import parsing


def main(raw: ml_collections.ConfigDict) -> None:
    """Runs the command.

    Args:
      raw: Settings of the config file, with the command line's overrides.
    """
    config = parsing.parse(f3ocus_jax.ExperimentConfig, raw)
    f3ocus_jax.run(config, _command_line.prepare_workdir())


if __name__ == "__main__":
    _command_line.run_with_config(main, lambda: f3ocus_jax.ExperimentConfig)
