"""Where things are in this repository."""

import pathlib

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "f3ocus_jax"
DATASETS = REPOSITORY / "tfds_medvqa"
MODEL_FIXTURES = REPOSITORY / "tests" / "models" / "fixtures"
