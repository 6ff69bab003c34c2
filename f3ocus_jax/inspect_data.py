"""Check a federation's data on one page: f3ocus inspect_data --config task1 --workdir runs/page."""

import dataclasses

import ml_collections
from absl import flags

from f3ocus_jax import _command_line
from f3ocus_jax.config import parsing
from f3ocus_jax.data import html_page
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.reading import read_tables
from f3ocus_jax.data.settings import DataConfig
from f3ocus_jax.data.text_report import report_texts
from f3ocus_jax.errors import ConfigError, DamagedError, WeightsError
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.models import foundation
from f3ocus_jax.models.settings import ModelConfig

PAGE = "data.html"


def define_flags() -> None:
    """Adds the size of the pictures on the page, which is independent of any model."""
    help_text = "side of the pictures, in pixels; a run with the same size shares the cache"
    flags.DEFINE_integer("image_size", 64, help_text, lower_bound=8)


def main(raw: ml_collections.ConfigDict) -> None:
    """Writes the page and prints a summary of each client's data.

    Args:
      raw: Settings of the config file, with the command line's overrides.
    """
    config = parsing.parse(DataConfig, raw.data, "data.")
    model = parsing.parse(ModelConfig, raw.model, "model.")
    workdir = _command_line.prepare_workdir()
    clients, summary = read_tables(config, Canvas(flags.FLAGS.image_size))
    try:
        tokenizer, _ = foundation.inputs(model, config)
        texts = report_texts(clients, tokenizer, config.question_length)
        summary = dataclasses.replace(summary, texts=texts, question_length=config.question_length)
    except (ConfigError, DamagedError, WeightsError) as error:
        print(f"the tokens of the questions are not counted: {error}")
    title = f"Data of {', '.join(config.datasets)}"
    (workdir / PAGE).write_text(html_page.make_page(title, clients, summary), encoding="utf-8")
    print("\n".join(summary.lines()))
    print(f"written to {workdir / PAGE}")


if __name__ == "__main__":
    define_flags()
    _command_line.run_with_config(main, lambda: ExperimentConfig)
