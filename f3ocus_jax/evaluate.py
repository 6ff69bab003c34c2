"""Measure a run's model on every client: f3ocus evaluate --workdir runs/x."""

import json

from f3ocus_jax import _command_line
from f3ocus_jax.report import table


def main() -> None:
    """Prints the test accuracies of a checkpoint as a table and writes them as JSON."""
    finished, clients = _command_line.use_run(lambda opened: opened.evaluate())
    path = finished.workdir / f"evaluation_round_{finished.round}.json"
    content = {"round": finished.round, "choice": finished.choice, "clients": clients}
    table.print_accuracies(clients)
    try:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        print(f"{finished.round_text}; written to {path}")
    except OSError as error:  # as on a disk that can only be read
        print(f"{finished.round_text}; not written: {error}")


if __name__ == "__main__":
    _command_line.define_round()
    _command_line.run(main)
