"""Compare finished runs: f3ocus compare --output runs/a_and_b runs/a runs/b."""

import pathlib
from collections.abc import Sequence

from absl import flags
from rich.console import Console

from f3ocus_jax import _command_line
from f3ocus_jax.config import paths
from f3ocus_jax.report import text_table
from f3ocus_jax.sweep import formats, side_by_side


def main(runs: Sequence[str]) -> None:
    """Prints the runs side by side, and writes tables and curves with --output.

    Args:
      runs: Folders of the runs.
    """
    found = side_by_side.compare_runs([paths.local_folder(run, "RUN") for run in runs])
    console = Console()
    for table in found.tables:
        console.print(table.title, markup=False, highlight=False)
        text_table.print_cells(formats.plain_cells(table), console)
    print("\n".join(found.verdicts))
    if flags.FLAGS.output is not None:
        folder = paths.local_folder(flags.FLAGS.output, "--output")
        written = side_by_side.write(found, pathlib.Path(folder))
        print(f"{len(written)} files: {folder}")


if __name__ == "__main__":
    flags.DEFINE_string("output", None, "folder for tables and curves; none unless given")
    _command_line.run_with_arguments(main)
