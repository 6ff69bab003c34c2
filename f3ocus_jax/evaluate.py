"""python -m f3ocus_jax.evaluate --workdir runs/x: how good is a run's model on every client?"""

import json

from absl import flags

from f3ocus_jax import _command_line
from f3ocus_jax.federation import experiment, run_folder
from f3ocus_jax.report import table


def main() -> None:
    """Prints the accuracies of a checkpoint as a table and writes them as JSON."""
    workdir = _command_line.existing_workdir()
    parts = experiment.assemble(run_folder.read_run(workdir).config)
    state = run_folder.load_state(
        workdir, parts.start, parts.memory, parts.settings, flags.FLAGS.round
    )
    scores = parts.stages.evaluate(state)
    names = [client.name for client in parts.federation.clients]
    reports = {name: score.test for name, score in zip(names, scores, strict=True)}
    path = workdir / f"evaluation_round_{int(state.round)}.json"
    path.write_text(json.dumps({"round": int(state.round), "clients": reports}, indent=2) + "\n")
    table.print_accuracies(reports)
    print(f"round {int(state.round)}; written to {path}")


if __name__ == "__main__":
    _command_line.define_round()
    _command_line.run(main)
