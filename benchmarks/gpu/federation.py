"""Seconds of the stages of a federation of three clients, of made-up images, by round."""

import pathlib
import tempfile

from benchmarks.gpu import lines
from f3ocus_jax.config import parsing, shipped
from f3ocus_jax.federation import experiment, presets
from f3ocus_jax.federation.settings import ExperimentConfig

ROUNDS = 3


def settings(folder: pathlib.Path, *, tiny: bool) -> ExperimentConfig:
    """Returns the settings: a ViLT-B/32, or a tiny ViLT, that starts from random weights."""
    raw = shipped.read("phantom:tiny" if tiny else "phantom")
    if not tiny:
        raw.model.weights = ""
        presets.use_published_sizes(raw, "vilt")
    raw.data.datasets = ("phantom_medvqa/tiny",)
    raw.data.data_dir = str(folder / "data")
    raw.data.partition = ("shards",)
    raw.data.clients_per_dataset = 3
    raw.federated.budgets = (2,)
    raw.federated.rounds = ROUNDS
    return parsing.parse(ExperimentConfig, raw)


def main() -> None:
    """Runs the part."""
    given = lines.parse(__doc__.splitlines()[0])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        config = settings(folder, tiny=given.tiny)
        records = experiment.run(config, folder / "run", with_figures=False)
    for record in records:
        row = {"tiny": given.tiny, "round": record.round, "seconds": record.seconds}
        lines.write(
            given.out, "federation", row | {"loss": record.loss, "clients": len(record.clients)}
        )
    lines.write(given.out, "federation", {"tiny": given.tiny, "peak_bytes": lines.peak_memory()})


if __name__ == "__main__":
    main()
