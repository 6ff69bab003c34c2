"""Write the page of a run again: f3ocus report runs/x."""

from collections.abc import Sequence

from f3ocus_jax import _command_line
from f3ocus_jax.config import paths
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import run_page


def main(runs: Sequence[str]) -> None:
    """Writes report.html into the folder of every run.

    Args:
      runs: Folders of the runs.
    """
    if not runs:
        raise ConfigError("no run is given: f3ocus report runs/x")
    for run in runs:
        print(f"written to {run_page.write(paths.local_folder(run, 'RUN'))}")


if __name__ == "__main__":
    _command_line.run_with_arguments(main)
