"""python -m f3ocus_jax.train --config configs/x.py --workdir runs/x: runs a federation.

The same command again resumes a run that was stopped.
"""

from f3ocus_jax import commands, experiment, parsing
from f3ocus_jax.config import ExperimentConfig

CONFIG = commands.define_config()


def main() -> None:
    """Runs the command."""
    config = parsing.parse(ExperimentConfig, CONFIG.value)
    experiment.run(config, commands.prepare_workdir())


if __name__ == "__main__":
    commands.run(main)
